// IEEE half precision on the CPU for emulated kernels: only what weights' scales need.
#pragma once

#include "tests/emulator/cuda/cuda_runtime.h"

struct __half_raw {
  unsigned short x;
};
struct __half {
  unsigned short bits;
  __half() = default;
  explicit __half(__half_raw raw) : bits(raw.x) {}
};

inline float __half2float(__half value) {
  const unsigned sign = (value.bits & 0x8000U) << 16;
  const unsigned exponent = value.bits >> 10 & 31U;
  const unsigned mantissa = value.bits & 1023U;
  const float magnitude = exponent == 0    ? std::ldexp(static_cast<float>(mantissa), -24)
                          : exponent == 31 ? (mantissa != 0 ? NAN : INFINITY)
                                           : std::ldexp(static_cast<float>(mantissa + 1024),
                                                        static_cast<int>(exponent) - 25);
  return __uint_as_float(__float_as_uint(magnitude) | sign);
}
