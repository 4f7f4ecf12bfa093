// Matrices stored row by row, with 512-bit vectors.

#if defined(__x86_64__)

#include <cstring>

#include <immintrin.h>

#include "models/kernels/cpu/level.h"
#include "models/kernels/cpu/linear_job.h"
#include "models/kernels/cpu/quantised.h"

namespace hearth::kernels::cpu {
namespace {

#define HEARTH_TARGET HEARTH_AVX512BF16
#include "models/kernels/cpu/linear_rows.h"

// Floats, sixteen at a time.
struct Lanes {
  using Input = float;
  using Sum = __m512;
  using Vector = __m512;
  static constexpr int kStep = 16, kRows = 8;
  static constexpr float kUnit = 1.0f;
  HEARTH_TARGET static Sum zero() { return _mm512_setzero_ps(); }
  HEARTH_TARGET static Vector input(const float* p) { return _mm512_loadu_ps(p); }
  HEARTH_TARGET static Sum add(Sum sum, Vector w, Vector x) { return _mm512_fmadd_ps(w, x, sum); }
  HEARTH_TARGET static float total(Sum sum) { return _mm512_reduce_add_ps(sum); }
};

struct F32 : Lanes {
  using Weight = float;
  HEARTH_TARGET static Vector weight(const float* p) { return _mm512_loadu_ps(p); }
};

struct Bf16 : Lanes {
  using Weight = BFloat16;
  HEARTH_TARGET static Vector weight(const BFloat16* p) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
};

// e4m3 becomes f16 by moving the exponent's bits; the smaller bias makes it 2^-8 of its value.
struct Fp8 : Lanes {
  using Weight = std::uint8_t;
  struct Vector {
    __m512 low, high;
  };
  static constexpr int kStep = 32;
  static constexpr float kUnit = 256.0f;
  HEARTH_TARGET static Vector input(const float* p) {
    return {_mm512_loadu_ps(p), _mm512_loadu_ps(p + 16)};
  }
  HEARTH_TARGET static Vector weight(const std::uint8_t* p) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m512i high = _mm512_slli_epi16(_mm512_cvtepu8_epi16(bytes), 8);
    const __m512i f16 =
        _mm512_and_si512(_mm512_srai_epi16(high, 1), _mm512_set1_epi16(static_cast<short>(0xbfff)));
    return {_mm512_cvtph_ps(_mm512_castsi512_si256(f16)),
            _mm512_cvtph_ps(_mm512_extracti64x4_epi64(f16, 1))};
  }
  HEARTH_TARGET static Sum add(Sum sum, const Vector& w, const Vector& x) {
    return _mm512_fmadd_ps(w.high, x.high, _mm512_fmadd_ps(w.low, x.low, sum));
  }
};

// Pairs of bf16, multiplied and added to an fp32 in one instruction.
struct Bf16Pairs {
  using Weight = BFloat16;
  using Input = BFloat16;
  using Sum = __m512;
  using Vector = __m512i;
  static constexpr int kStep = 32, kRows = 8;
  static constexpr float kUnit = 1.0f;
  HEARTH_TARGET static Sum zero() { return _mm512_setzero_ps(); }
  HEARTH_TARGET static Vector weight(const BFloat16* p) { return _mm512_loadu_si512(p); }
  HEARTH_TARGET static Vector input(const BFloat16* p) { return _mm512_loadu_si512(p); }
  HEARTH_TARGET static Sum add(Sum sum, Vector w, Vector x) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(x));
  }
  HEARTH_TARGET static float total(Sum sum) { return _mm512_reduce_add_ps(sum); }
};

}  // namespace

// Without the newer products the quantised loops are those of 256 bits.
const TileFunctions kAvx512Tiles = {row_tiles<F32>,  row_tiles<Bf16>, row_tiles<Fp8>,
                                    int8_tiles_avx2, int4_tiles_avx2, false};
const TileFunctions kAvx512VnniTiles = {row_tiles<F32>,  row_tiles<Bf16>, row_tiles<Fp8>,
                                        int8_tiles_vnni, int4_tiles_vnni, false};
const TileFunctions kAvx512Bf16Tiles = {row_tiles<F32>,  row_tiles<Bf16Pairs>, row_tiles<Fp8>,
                                        int8_tiles_vnni, int4_tiles_vnni,      true};

}  // namespace hearth::kernels::cpu

#endif
