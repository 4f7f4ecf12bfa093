// exp and silu in plain arithmetic that compilers turn into vector code.
//
// Any thread, no state.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "models/kernels/cpu/level.h"

namespace hearth::kernels::cpu {

// e^x to 2 units of the last place for |x| <= 87; beyond, the value there.
HEARTH_INLINE float exponential(float x) {
  x = std::min(std::max(x, -87.0f), 87.0f);
  // x = n ln 2 + r, |r| <= ln 2 / 2, with ln 2 in two parts so that r keeps its digits.
  constexpr float kRounder = 12582912.0f;
  const float shifted = x * 1.44269504f + kRounder;
  const float n = shifted - kRounder;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  // Taylor's series with its last coefficients fitted to the interval (Cephes expf).
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const std::uint32_t power = (std::bit_cast<std::uint32_t>(shifted) + 127U) << 23;
  return p * std::bit_cast<float>(power);
}

HEARTH_INLINE float silu(float x) {
  return x / (1.0f + exponential(-x));
}

}  // namespace hearth::kernels::cpu
