// Dot products of one input row with several weight rows: the inner loop of a linear.
//
// One function a machine level, chosen once by cpuid. All weight rows share the loads of the input,
// and their accumulators hide the latency of the multiply-add.
#pragma once

#include <cstdint>

#include "models/kernels/bfloat16.h"

namespace hearth::kernels {

inline constexpr int kDotRows = 4;  // weight rows computed together

// sums[k] = dot(input, weight + k * stride, count) for k < kDotRows.
template <class T>
using DotFunction = void (*)(const T* weight, std::int64_t stride, const T* input,
                             std::int64_t count, float* sums);

template <class T>
struct Dots {
  DotFunction<T> many;  // kDotRows weight rows
  DotFunction<T> one;   // a single one, for the remainder
};

// The fastest this machine can run. The environment variable HEARTH_CPU_LEVEL (generic, avx2,
// avx512, avx512bf16) lowers the choice, so that one machine can test them all.
const Dots<float>& float_dots();
const Dots<BFloat16>& bfloat16_dots();

// As above for a named level; null when this machine lacks it.
const Dots<float>* float_dots(const char* level);
const Dots<BFloat16>* bfloat16_dots(const char* level);

}  // namespace hearth::kernels
