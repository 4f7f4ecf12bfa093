// bfloat16 as its 16 bits: the upper half of an fp32.
#pragma once

#include <cstdint>
#include <cstring>

namespace hearth::kernels {

struct BFloat16 {
  std::uint16_t bits;
};

inline float to_float(float value) {
  return value;
}
inline float to_float(BFloat16 value) {
  const std::uint32_t bits = std::uint32_t{value.bits} << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

// Rounds to nearest, ties to even; a NaN stays a NaN.
inline BFloat16 to_bfloat16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  bits += 0x7fffu + ((bits >> 16) & 1u);
  return {static_cast<std::uint16_t>(bits >> 16)};
}

inline void store(float* target, float value) {
  *target = value;
}
inline void store(BFloat16* target, float value) {
  *target = to_bfloat16(value);
}

}  // namespace hearth::kernels
