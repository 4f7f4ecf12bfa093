// int8 and int4 by VNNI: four products of bytes in each 32-bit lane, one lane a feature.

#if defined(__x86_64__)

#include <cstddef>

#include <immintrin.h>

#include "models/kernels/cpu/level.h"
#include "models/kernels/cpu/quantised.h"

namespace hearth::kernels::cpu {
namespace {

constexpr int kQuads = kGroup / 4;
// How far ahead of the products the weights are asked for: into the second cache, for the requests
// of the first are too few for the memory.
constexpr std::ptrdiff_t kAheadBytes = 4096;

#define HEARTH_TARGET HEARTH_AVX512VNNI inline

// 16 features of one group by R rows. `quads`: [16, R].
template <int R>
struct Dots {
  // Integer sums may be split: with few rows one chain of additions would be too slow.
  static constexpr int kChains = R <= 2 ? 2 : 1;
  __m512i sums[kChains][R];

  HEARTH_TARGET explicit Dots(const std::int32_t* starts) {
    for (int r = 0; r < R; ++r) {
      sums[0][r] = _mm512_set1_epi32(starts[r]);
      for (int c = 1; c < kChains; ++c) sums[c][r] = _mm512_setzero_si512();
    }
  }
  HEARTH_TARGET void add(int quad, __m512i weights, const std::int32_t* quads) {
    for (int r = 0; r < R; ++r)
      sums[quad % kChains][r] = _mm512_dpbusd_epi32(sums[quad % kChains][r], weights,
                                                    _mm512_set1_epi32(quads[quad * R + r]));
  }
  HEARTH_TARGET __m512 total(int r) const {
    __m512i all = sums[0][r];
    for (int c = 1; c < kChains; ++c) all = _mm512_add_epi32(all, sums[c][r]);
    return _mm512_cvtepi32_ps(all);
  }
};

HEARTH_TARGET __m512i stream(const std::uint8_t* weights) {
  _mm_prefetch(reinterpret_cast<const char*>(weights) + kAheadBytes, _MM_HINT_T1);
  return _mm512_load_si512(weights);
}

struct Int8 {
  static constexpr HearthFormat kFormat = HEARTH_FORMAT_INT8;
  template <int R>
  HEARTH_TARGET static void add_group(Dots<R>& dots, const std::uint8_t* weights,
                                      const std::int32_t* quads) {
#pragma GCC unroll 16
    for (int q = 0; q < kQuads; ++q) dots.add(q, stream(weights + q * 64), quads);
  }
  HEARTH_TARGET static __m512 group_scale(const LinearJob&, std::int64_t, std::int64_t) {
    return _mm512_setzero_ps();
  }
};

struct Int4 {
  static constexpr HearthFormat kFormat = HEARTH_FORMAT_INT4;
  template <int R>
  HEARTH_TARGET static void add_group(Dots<R>& dots, const std::uint8_t* weights,
                                      const std::int32_t* quads) {
    const __m512i nibble = _mm512_set1_epi8(15);
#pragma GCC unroll 8
    for (int v = 0; v < kQuads / 2; ++v) {
      const __m512i both = stream(weights + v * 64);
      dots.add(v, _mm512_and_si512(both, nibble), quads);
      dots.add(v + kQuads / 2, _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble), quads);
    }
  }
  HEARTH_TARGET static __m512 group_scale(const LinearJob& job, std::int64_t tile,
                                          std::int64_t group) {
    const auto* scales = static_cast<const std::uint16_t*>(job.call->weight.scales) +
                         (tile * job.groups + group) * kTile;
    return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(scales)));
  }
};

template <class Format, int R>
HEARTH_TARGET void compute_tile(const LinearJob& job, std::int64_t tile) {
  constexpr bool kGroupScales = Format::kFormat == HEARTH_FORMAT_INT4;
  const std::int64_t group_bytes = tile_bytes(Format::kFormat, 1);
  const auto* weights =
      static_cast<const std::uint8_t*>(job.call->weight.data) + tile * job.groups * group_bytes;
  __m512 sums[R];
  for (int r = 0; r < R; ++r) sums[r] = _mm512_setzero_ps();
  for (std::int64_t g = 0; g < job.groups; ++g) {
    Dots<R> dots(job.offset_sums + g * R);
    Format::template add_group<R>(dots, weights + g * group_bytes, job.quads + g * kQuads * R);
    const __m512 group_scale = Format::group_scale(job, tile, g);
    for (int r = 0; r < R; ++r) {
      __m512 scale = _mm512_set1_ps(job.input_scales[g * R + r]);
      if (kGroupScales) scale = _mm512_mul_ps(scale, group_scale);
      sums[r] = _mm512_fmadd_ps(dots.total(r), scale, sums[r]);
    }
  }
  const __m512 scale =
      kGroupScales
          ? _mm512_set1_ps(1.0f)
          : _mm512_load_ps(static_cast<const float*>(job.call->weight.scales) + tile * kTile);
  for (int r = 0; r < R; ++r) {
    alignas(64) float y[kTile];
    _mm512_store_ps(y, _mm512_mul_ps(sums[r], scale));
    if (r < job.rows) finish(*job.call, r, tile, y);
  }
}

template <class Format, int R>
HEARTH_AVX512VNNI void compute_tiles(const LinearJob& job, std::int64_t first, std::int64_t last) {
  for (std::int64_t tile = first; tile < last; ++tile) compute_tile<Format, R>(job, tile);
}

template <class Format>
void choose_rows(const LinearJob& job, std::int64_t first, std::int64_t last) {
  switch (job.padded_rows) {
    case 1:
      return compute_tiles<Format, 1>(job, first, last);
    case 2:
      return compute_tiles<Format, 2>(job, first, last);
    case 4:
      return compute_tiles<Format, 4>(job, first, last);
    case 8:
      return compute_tiles<Format, 8>(job, first, last);
    case 12:
      return compute_tiles<Format, 12>(job, first, last);
    default:
      return compute_tiles<Format, 16>(job, first, last);
  }
}

}  // namespace

void int8_tiles_vnni(const LinearJob& job, std::int64_t first, std::int64_t last) {
  choose_rows<Int8>(job, first, last);
}

void int4_tiles_vnni(const LinearJob& job, std::int64_t first, std::int64_t last) {
  choose_rows<Int4>(job, first, last);
}

}  // namespace hearth::kernels::cpu

#endif
