// int8 and int4 by AMX: a tile of inputs (rows by 64 signed bytes) with a tile of weights as it
// lies in memory gives all rows' sums of a group at once.
//
// The sums are exact integers and meet the scales in the same order as in quantised_vnni.cpp, so a
// row has the same bits whichever of the two computes it.

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#include "models/kernels/cpu/amx.h"
#include "models/kernels/cpu/quantised.h"

#define HEARTH_AMX_INT8 __attribute__((target(HEARTH_AMX_FEATURES ",amx-int8")))
#define HEARTH_AMX_INT8_INLINE \
  inline __attribute__((always_inline, target(HEARTH_AMX_FEATURES ",amx-int8")))

namespace hearth::kernels::cpu {
namespace {

constexpr std::int64_t kAheadBytes = 4096;

struct Int8 {
  static constexpr HearthFormat kFormat = HEARTH_FORMAT_INT8;
  static constexpr int kLines = 16;  // of 64 bytes, in a group
  HEARTH_AMX_INT8_INLINE static const std::uint8_t* tile(const std::uint8_t* group, std::uint8_t*) {
    return group;
  }
};

struct Int4 {
  static constexpr HearthFormat kFormat = HEARTH_FORMAT_INT4;
  static constexpr int kLines = 8;
  HEARTH_AMX_INT8_INLINE static const std::uint8_t* tile(const std::uint8_t* group,
                                                         std::uint8_t* bytes) {
    const __m512i nibble = _mm512_set1_epi8(15);
    for (int v = 0; v < kLines; ++v) {
      const __m512i both = _mm512_load_si512(group + v * 64);
      _mm512_store_si512(bytes + v * 64, _mm512_and_si512(both, nibble));
      _mm512_store_si512(bytes + (v + kLines) * 64,
                         _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble));
    }
    return bytes;
  }
};

// The weights' scales of a group, or one where they come at the end.
template <class Format>
HEARTH_AMX_INT8_INLINE __m512 group_scale(const LinearJob& job, std::int64_t place) {
  if (Format::kFormat == HEARTH_FORMAT_INT8) return _mm512_set1_ps(1.0f);
  const auto* scales = static_cast<const std::uint16_t*>(job.call->weight.scales) + place * kTile;
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(scales)));
}

// sums [padded_rows][kTile] += a group's.
template <class Format>
HEARTH_AMX_INT8_INLINE void add_group(const LinearJob& job, std::int64_t tile, std::int64_t group,
                                      __m512* sums) {
  alignas(64) std::uint8_t bytes[2][kTileBytes];
  alignas(64) std::int32_t dots[kTileRows][kTile];
  const std::int64_t place = tile * job.groups + group,
                     group_bytes = tile_bytes(Format::kFormat, 1);
  const auto* weights =
      static_cast<const std::uint8_t*>(job.call->weight.data) + place * group_bytes;
  for (int line = 0; line < Format::kLines; ++line)
    _mm_prefetch(reinterpret_cast<const char*>(weights) + kAheadBytes + line * 64, _MM_HINT_T1);
  _tile_zero(0);
  _tile_loadd(1, job.quads + group * (kGroup / 4) * kTileRows, kTileStride);
  _tile_loadd(2, Format::tile(weights, bytes[group % 2]), kTileStride);
  _tile_dpbsud(0, 1, 2);
  _tile_stored(0, dots, kTileStride);
  const __m512 scale = group_scale<Format>(job, place);
  for (std::int64_t r = 0; r < job.rows; ++r) {
    const std::int64_t at = group * kTileRows + r;
    const __m512i all =
        _mm512_add_epi32(_mm512_load_si512(dots[r]), _mm512_set1_epi32(job.offset_sums[at]));
    sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(all),
                              _mm512_mul_ps(_mm512_set1_ps(job.input_scales[at]), scale), sums[r]);
  }
}

template <class Format>
HEARTH_AMX_INT8 void compute_tiles(const LinearJob& job, std::int64_t first, std::int64_t last) {
  const TileScope shapes;
  for (std::int64_t tile = first; tile < last; ++tile) {
    __m512 sums[kTileRows];
    for (__m512& sum : sums) sum = _mm512_setzero_ps();
    for (std::int64_t group = 0; group < job.groups; ++group)
      add_group<Format>(job, tile, group, sums);
    __m512 scale = _mm512_set1_ps(1.0f);
    if (Format::kFormat == HEARTH_FORMAT_INT8)
      scale = _mm512_load_ps(static_cast<const float*>(job.call->weight.scales) + tile * kTile);
    for (std::int64_t r = 0; r < job.rows; ++r) {
      alignas(64) float y[kTile];
      _mm512_store_ps(y, _mm512_mul_ps(sums[r], scale));
      finish(*job.call, r, tile, y);
    }
  }
}

bool has_int8_tiles() {
  constexpr unsigned kFeatures = 7, kAmxInt8 = 1U << 25;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(kFeatures, 0, &a, &b, &c, &d) != 0 && (d & kAmxInt8) != 0 && has_amx();
}

}  // namespace

bool multiplies_bytes_by_amx() {
  static const bool does = has_int8_tiles();
  return does;
}

void int8_tiles_amx(const LinearJob& job, std::int64_t first, std::int64_t last) {
  compute_tiles<Int8>(job, first, last);
}

void int4_tiles_amx(const LinearJob& job, std::int64_t first, std::int64_t last) {
  compute_tiles<Int4>(job, first, last);
}

}  // namespace hearth::kernels::cpu

#endif
