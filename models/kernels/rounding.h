// Rounding to small formats without branches or library calls, in plain arithmetic that compilers
// turn into vector code. formats.h has the same conversions by their definition.
//
// Any thread, no state.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "models/kernels/cpu/level.h"

namespace hearth::kernels {

// 1.5 * 2^23: adding it leaves an integer's bits at the bottom, rounded to nearest even.
inline constexpr float kRounder = 12582912.0f;
inline constexpr std::uint32_t kRounderBits = 0x4b400000;
inline constexpr std::uint32_t kInfinityBits = 0x7f800000;

HEARTH_INLINE float bits_to_float(std::uint32_t bits) {
  return std::bit_cast<float>(bits);
}
HEARTH_INLINE std::uint32_t bits_of(float value) {
  return std::bit_cast<std::uint32_t>(value);
}

// To nearest even for |value| < 2^22.
HEARTH_INLINE std::int32_t round_to_int(float value) {
  return static_cast<std::int32_t>(bits_of(value + kRounder) - kRounderBits);
}

// To nearest even; magnitudes from 65520 become infinite.
HEARTH_INLINE std::uint16_t store_f16(float value) {
  const std::uint32_t sign = bits_of(value) >> 16 & 0x8000, magnitude = bits_of(value) & 0x7fffffff;
  if (magnitude >= 0x477ff000) return static_cast<std::uint16_t>(sign | 0x7c00);
  if (magnitude < 0x38800000) {  // subnormal: steps of 2^-24
    const float steps = bits_to_float(magnitude) * 16777216.0f;
    return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(round_to_int(steps)));
  }
  const std::uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<std::uint16_t>(sign | ((rounded >> 13) - (112U << 10)));
}

// Of a finite number. Exponents move by 112; multiplying does it for subnormals as well.
HEARTH_INLINE float load_f16(std::uint16_t bits) {
  const float magnitude = bits_to_float((bits & 0x7fffU) << 13) * 0x1p112f;
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

// To nearest even, saturating; of a finite number.
HEARTH_INLINE std::uint8_t store_e4m3(float value) {
  const std::uint32_t sign = bits_of(value) >> 24 & 0x80, magnitude = bits_of(value) & 0x7fffffff;
  const std::uint32_t rounded = magnitude + 0x7ffff + (magnitude >> 20 & 1);
  const std::uint32_t normal = std::min((rounded >> 20) - (120U << 3), 0x7eU);
  const auto small = static_cast<std::uint32_t>(round_to_int(bits_to_float(magnitude) * 512.0f));
  return static_cast<std::uint8_t>(sign | (magnitude < 0x3c800000 ? small : normal));
}

// Of a number. 2^120 makes up for the smaller bias, and does it for subnormals as well.
HEARTH_INLINE float load_e4m3(std::uint8_t bits) {
  const float magnitude = bits_to_float((bits & 0x7fU) << 20) * 0x1p120f;
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

}  // namespace hearth::kernels
