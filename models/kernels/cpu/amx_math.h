// Vectors of 16 fp32: conversions and the functions of activations and of softmax.
//
// Needs has_amx() (that is AVX-512).
#pragma once

#include "models/kernels/cpu/amx.h"

namespace hearth::kernels::cpu {

// The first `count` of 16 lanes; all from 16 on, none below 1.
HEARTH_AMX_INLINE __mmask16 first_lanes(std::int64_t count) {
  if (count >= 16) return 0xffff;
  return count <= 0 ? __mmask16{0} : static_cast<__mmask16>((1U << count) - 1);
}

HEARTH_AMX_INLINE __m512 load_bfloat16(const BFloat16* from, __mmask16 lanes) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, from)), 16));
}

HEARTH_AMX_INLINE void store_bfloat16(BFloat16* to, __mmask16 lanes, __m512 value) {
  _mm256_mask_storeu_epi16(to, lanes, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
}

// 2^x, relative error below 3e-7, exact for integers; 0 far below, infinity far above. The
// polynomial is the minimax one of degree 5 for 2^f on [-1/2, 1/2].
HEARTH_AMX_INLINE __m512 exp2_of(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(x, whole);
  __m512 p = _mm512_fmadd_ps(f, _mm512_set1_ps(1.32764713e-3F), _mm512_set1_ps(9.67554096e-3F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.55071309e-2F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.40221202e-1F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93146944e-1F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0F));
  return _mm512_scalef_ps(p, whole);
}

inline constexpr float kLog2OfE = 1.44269504F;

// 1 / x for ordinary x, relative error below 2e-7.
HEARTH_AMX_INLINE __m512 reciprocal(__m512 x) {
  const __m512 guess = _mm512_rcp14_ps(x);
  return _mm512_mul_ps(guess, _mm512_fnmadd_ps(x, guess, _mm512_set1_ps(2.0F)));
}

// x / (1 + e^-z). Beyond 80 the power would leave the range of reciprocal() and adds nothing.
HEARTH_AMX_INLINE __m512 times_sigmoid(__m512 x, __m512 z) {
  const __m512 power =
      _mm512_min_ps(_mm512_mul_ps(z, _mm512_set1_ps(-kLog2OfE)), _mm512_set1_ps(80.0F * kLog2OfE));
  return _mm512_mul_ps(x, reciprocal(_mm512_add_ps(_mm512_set1_ps(1.0F), exp2_of(power))));
}

HEARTH_AMX_INLINE __m512 silu(__m512 x) {
  return times_sigmoid(x, x);
}

// (1 + tanh(u)) / 2 is the sigmoid of 2 u.
HEARTH_AMX_INLINE __m512 gelu_tanh(__m512 x) {
  constexpr float kTwice = 1.59576912F;  // 2 sqrt(2 / pi)
  const __m512 square = _mm512_mul_ps(x, x);
  const __m512 inner =
      _mm512_fmadd_ps(square, _mm512_set1_ps(0.044715F * kTwice), _mm512_set1_ps(kTwice));
  return times_sigmoid(x, _mm512_mul_ps(x, inner));
}

// erfc(z) = (a1 t + .. + a5 t^5) e^(-z²) with t = 1 / (1 + p z) for z >= 0, error below 1.5e-7.
// Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
HEARTH_AMX_INLINE __m512 gelu_erf(__m512 x) {
  const __m512 z = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.707106781F));
  const __m512 one = _mm512_set1_ps(1.0F);
  const __m512 t = reciprocal(_mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911F), one));
  __m512 p = _mm512_fmadd_ps(t, _mm512_set1_ps(1.061405429F), _mm512_set1_ps(-1.453152027F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592F));
  const __m512 power = _mm512_mul_ps(_mm512_mul_ps(z, z), _mm512_set1_ps(-kLog2OfE));
  const __m512 tail = _mm512_mul_ps(_mm512_mul_ps(p, t), exp2_of(power));  // erfc(|x| / sqrt(2))
  const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
  const __m512 twice =
      _mm512_mask_sub_ps(tail, static_cast<__mmask16>(~negative), _mm512_set1_ps(2.0F), tail);
  return _mm512_mul_ps(_mm512_mul_ps(x, _mm512_set1_ps(0.5F)), twice);
}

}  // namespace hearth::kernels::cpu
