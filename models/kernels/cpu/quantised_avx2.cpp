// int8 and int4 with 256-bit vectors: products of bytes in pairs, in 16 bits, then in 32.

#if defined(__x86_64__)

#include <immintrin.h>

#include "models/kernels/cpu/level.h"
#include "models/kernels/cpu/quantised.h"

namespace hearth::kernels::cpu {
namespace {

#define HEARTH_TARGET HEARTH_AVX2 inline

constexpr int kQuads = kGroup / 4;
constexpr int kMostRows = 4;  // whose sums fit the registers

// 16 features as two vectors of 32-bit lanes.
struct Pair {
  __m256i low, high;
};

HEARTH_TARGET Pair load(const std::uint8_t* weights) {
  const auto* vectors = reinterpret_cast<const __m256i*>(weights);
  return {_mm256_load_si256(vectors), _mm256_load_si256(vectors + 1)};
}

// sum + products of four bytes a lane. The sign of the weight goes to the input, so that the pairs
// stay below 2^15: 2 * 127 * 127.
HEARTH_TARGET __m256i add_signed(__m256i sum, __m256i magnitude, __m256i weight, __m256i input) {
  const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(input, weight));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

struct Int8 {
  static constexpr HearthFormat kFormat = HEARTH_FORMAT_INT8;
  // Sums of R rows over one group. The weights' offset is taken off here, not by `starts`.
  template <int R>
  HEARTH_TARGET static void dot(const std::uint8_t* weights, const std::int32_t* quads,
                                std::int64_t stride, const std::int32_t*, Pair (&sums)[R]) {
    const __m256i offset = _mm256_set1_epi8(static_cast<char>(kInt8Zero));
    for (int r = 0; r < R; ++r) sums[r] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int q = 0; q < kQuads; ++q) {
      Pair w = load(weights + q * 64);
      w = {_mm256_xor_si256(w.low, offset), _mm256_xor_si256(w.high, offset)};
      const Pair magnitude = {_mm256_abs_epi8(w.low), _mm256_abs_epi8(w.high)};
      for (int r = 0; r < R; ++r) {
        const __m256i x = _mm256_set1_epi32(quads[q * stride + r]);
        sums[r].low = add_signed(sums[r].low, magnitude.low, w.low, x);
        sums[r].high = add_signed(sums[r].high, magnitude.high, w.high, x);
      }
    }
  }
};

struct Int4 {
  static constexpr HearthFormat kFormat = HEARTH_FORMAT_INT4;
  template <int R>
  HEARTH_TARGET static void dot(const std::uint8_t* weights, const std::int32_t* quads,
                                std::int64_t stride, const std::int32_t* starts, Pair (&sums)[R]) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (int r = 0; r < R; ++r)
      sums[r] = {_mm256_set1_epi32(starts[r]), _mm256_set1_epi32(starts[r])};
    for (int half = 0; half < 2; ++half) {
      // Eight pairs of 15 * 127 each stay below 2^15.
      Pair pairs[R];
      for (int r = 0; r < R; ++r) pairs[r] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
      for (int v = 0; v < kQuads / 2; ++v) {
        const Pair w = nibbles(load(weights + v * 64), half);
        for (int r = 0; r < R; ++r) {
          const __m256i x = _mm256_set1_epi32(quads[(half * kQuads / 2 + v) * stride + r]);
          pairs[r].low = _mm256_add_epi16(pairs[r].low, _mm256_maddubs_epi16(w.low, x));
          pairs[r].high = _mm256_add_epi16(pairs[r].high, _mm256_maddubs_epi16(w.high, x));
        }
      }
      for (int r = 0; r < R; ++r) {
        sums[r].low = _mm256_add_epi32(sums[r].low, _mm256_madd_epi16(pairs[r].low, ones));
        sums[r].high = _mm256_add_epi32(sums[r].high, _mm256_madd_epi16(pairs[r].high, ones));
      }
    }
  }

 private:
  HEARTH_TARGET static Pair nibbles(Pair both, int half) {
    const __m256i mask = _mm256_set1_epi8(15);
    if (half == 1) both = {_mm256_srli_epi16(both.low, 4), _mm256_srli_epi16(both.high, 4)};
    return {_mm256_and_si256(both.low, mask), _mm256_and_si256(both.high, mask)};
  }
};

struct Sums {
  __m256 low, high;
};

// Adds a group's integer sums of R rows to their sums in fp32.
template <class Format, int R>
HEARTH_TARGET void add_rows(const LinearJob& job, std::int64_t tile, std::int64_t group,
                            std::int64_t row, Sums* sums) {
  const std::int64_t stride = job.padded_rows, place = group * stride + row;
  const auto* weights = static_cast<const std::uint8_t*>(job.call->weight.data) +
                        (tile * job.groups + group) * tile_bytes(Format::kFormat, 1);
  Pair dots[R];
  Format::template dot<R>(weights, job.quads + group * kQuads * stride + row, stride,
                          job.offset_sums + place, dots);
  Sums scale = {_mm256_set1_ps(1.0f), _mm256_set1_ps(1.0f)};
  if (Format::kFormat == HEARTH_FORMAT_INT4) {
    const auto* halves = reinterpret_cast<const __m128i*>(
        static_cast<const std::uint16_t*>(job.call->weight.scales) +
        (tile * job.groups + group) * kTile);
    scale = {_mm256_cvtph_ps(_mm_load_si128(halves)), _mm256_cvtph_ps(_mm_load_si128(halves + 1))};
  }
  for (int r = 0; r < R; ++r) {
    const __m256 x = _mm256_set1_ps(job.input_scales[place + r]);
    Sums& sum = sums[row + r];
    sum.low =
        _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[r].low), _mm256_mul_ps(x, scale.low), sum.low);
    sum.high =
        _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[r].high), _mm256_mul_ps(x, scale.high), sum.high);
  }
}

template <class Format>
HEARTH_TARGET void compute_tile(const LinearJob& job, std::int64_t tile) {
  Sums sums[HEARTH_MAX_ROWS];
  for (Sums& sum : sums) sum = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (std::int64_t group = 0; group < job.groups; ++group) {
    std::int64_t row = 0;
    for (; row + kMostRows <= job.padded_rows; row += kMostRows)
      add_rows<Format, kMostRows>(job, tile, group, row, sums);
    for (; row + 2 <= job.padded_rows; row += 2) add_rows<Format, 2>(job, tile, group, row, sums);
    for (; row < job.padded_rows; ++row) add_rows<Format, 1>(job, tile, group, row, sums);
  }
  for (std::int64_t r = 0; r < job.rows; ++r) {
    alignas(64) float y[kTile];
    _mm256_store_ps(y, sums[r].low);
    _mm256_store_ps(y + 8, sums[r].high);
    if (Format::kFormat == HEARTH_FORMAT_INT8)
      for (int i = 0; i < kTile; ++i)
        y[i] *= static_cast<const float*>(job.call->weight.scales)[tile * kTile + i];
    finish(*job.call, r, tile, y);
  }
}

}  // namespace

HEARTH_AVX2 void int8_tiles_avx2(const LinearJob& job, std::int64_t first, std::int64_t last) {
  for (std::int64_t tile = first; tile < last; ++tile) compute_tile<Int8>(job, tile);
}

HEARTH_AVX2 void int4_tiles_avx2(const LinearJob& job, std::int64_t first, std::int64_t last) {
  for (std::int64_t tile = first; tile < last; ++tile) compute_tile<Int4>(job, tile);
}

}  // namespace hearth::kernels::cpu

#endif
