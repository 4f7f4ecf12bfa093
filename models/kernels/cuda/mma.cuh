// The tensor cores' product of a 16 x 16 by a 16 x 8 matrix of bf16, summed in fp32.
//
// PTX ISA, "Matrix Fragments for mma.m16n8k16": with group = lane / 4 and t = lane % 4 a lane holds
//   a[0] rows group      columns 2 t, 2 t + 1      a[2] the same row, columns 2 t + 8, 2 t + 9
//   a[1] rows group + 8  columns 2 t, 2 t + 1      a[3] the same row, columns 2 t + 8, 2 t + 9
//   b[0] rows 2 t, 2 t + 1      column group       b[1] rows 2 t + 8, 2 t + 9
//   d[0] row group  column 2 t, d[1] column 2 t + 1; d[2], d[3] row group + 8
// Each d depends on its row of a and its column of b alone.
#pragma once

#include "models/kernels/cuda/numbers.cuh"

namespace hearth::kernels::cuda {

__device__ __forceinline__ float low_half(unsigned pair) {
  return __uint_as_float(pair << 16);
}
__device__ __forceinline__ float high_half(unsigned pair) {
  return __uint_as_float(pair & 0xffff0000u);
}

// For devices before compute capability 8, whose tensor cores know no bf16: every lane collects the
// rows and columns of its four sums from the other lanes.
__device__ inline void multiply_without_tensor_cores(float* d, const unsigned* a,
                                                     const unsigned* b) {
  const int lane = lane_of();
  const int t = lane % 4;
  for (int half = 0; half < 2; ++half) {
    for (int source = 0; source < 4; ++source) {  // the lane of the group that holds these k
      const unsigned top = __shfl_sync(kAllLanes, a[2 * half], lane / 4 * 4 + source);
      const unsigned bottom = __shfl_sync(kAllLanes, a[2 * half + 1], lane / 4 * 4 + source);
      const unsigned left = __shfl_sync(kAllLanes, b[half], 8 * t + source);
      const unsigned right = __shfl_sync(kAllLanes, b[half], 8 * t + 4 + source);
      d[0] = fmaf(high_half(top), high_half(left), fmaf(low_half(top), low_half(left), d[0]));
      d[1] = fmaf(high_half(top), high_half(right), fmaf(low_half(top), low_half(right), d[1]));
      d[2] = fmaf(high_half(bottom), high_half(left), fmaf(low_half(bottom), low_half(left), d[2]));
      d[3] =
          fmaf(high_half(bottom), high_half(right), fmaf(low_half(bottom), low_half(right), d[3]));
    }
  }
}

// d += a b. All lanes of the warp; volatile, so that it stays where all of them are.
__device__ __forceinline__ void multiply(float* d, const unsigned* a, const unsigned* b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  multiply_without_tensor_cores(d, a, b);
#endif
}

}  // namespace hearth::kernels::cuda
