// Matrices stored row by row, with 256-bit vectors.

#if defined(__x86_64__)

#include <cstring>

#include <immintrin.h>

#include "models/kernels/cpu/level.h"
#include "models/kernels/cpu/linear_job.h"
#include "models/kernels/cpu/quantised.h"

namespace hearth::kernels::cpu {
namespace {

#define HEARTH_TARGET HEARTH_AVX2
#include "models/kernels/cpu/linear_rows.h"

// Floats, eight at a time.
struct Lanes {
  using Input = float;
  using Sum = __m256;
  using Vector = __m256;
  static constexpr int kStep = 8, kRows = 4;
  static constexpr float kUnit = 1.0f;
  HEARTH_TARGET static Sum zero() { return _mm256_setzero_ps(); }
  HEARTH_TARGET static Vector input(const float* p) { return _mm256_loadu_ps(p); }
  HEARTH_TARGET static Sum add(Sum sum, Vector w, Vector x) { return _mm256_fmadd_ps(w, x, sum); }
  HEARTH_TARGET static float total(Sum v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
};

struct F32 : Lanes {
  using Weight = float;
  HEARTH_TARGET static Vector weight(const float* p) { return _mm256_loadu_ps(p); }
};

struct Bf16 : Lanes {
  using Weight = BFloat16;
  HEARTH_TARGET static Vector weight(const BFloat16* p) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
};

// e4m3 becomes f16 by moving the exponent's bits; the smaller bias makes it 2^-8 of its value.
struct Fp8 : Lanes {
  using Weight = std::uint8_t;
  static constexpr float kUnit = 256.0f;
  HEARTH_TARGET static Vector weight(const std::uint8_t* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    const __m128i high = _mm_slli_epi16(_mm_cvtepu8_epi16(bytes), 8);
    return _mm256_cvtph_ps(
        _mm_and_si128(_mm_srai_epi16(high, 1), _mm_set1_epi16(static_cast<short>(0xbfff))));
  }
};

}  // namespace

const TileFunctions kAvx2Tiles = {row_tiles<F32>,  row_tiles<Bf16>, row_tiles<Fp8>,
                                  int8_tiles_avx2, int4_tiles_avx2, false};

}  // namespace hearth::kernels::cpu

#endif
