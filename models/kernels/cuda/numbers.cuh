// Numbers as tensors hold them, and sums over warps and blocks in a fixed order.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "models/kernels/cuda/launch.cuh"
#include "models/kernels/kernels.h"

namespace hearth::kernels::cuda {

using BFloat16 = __nv_bfloat16;

__device__ __forceinline__ float to_float(float value) {
  return value;
}
__device__ __forceinline__ float to_float(BFloat16 value) {
  return __bfloat162float(value);
}
__device__ __forceinline__ void store(float* target, float value) {
  *target = value;
}
__device__ __forceinline__ void store(BFloat16* target, float value) {
  *target = __float2bfloat16_rn(value);
}

// Where the type is known only at run time.
__device__ __forceinline__ float number_at(HearthType type, const void* numbers, long long i) {
  return type == HEARTH_F32 ? static_cast<const float*>(numbers)[i]
                            : to_float(static_cast<const BFloat16*>(numbers)[i]);
}
__device__ __forceinline__ void store_at(HearthType type, void* numbers, long long i, float value) {
  if (type == HEARTH_F32)
    store(static_cast<float*>(numbers) + i, value);
  else
    store(static_cast<BFloat16*>(numbers) + i, value);
}

// A value's bits in another type of the same size.
template <class To, class From>
__device__ __forceinline__ To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "the sizes differ");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

// Two numbers rounded to bf16, the first in the low half.
__device__ __forceinline__ unsigned to_bf16_pair(float low, float high) {
  const __nv_bfloat162 pair = {__float2bfloat16_rn(low), __float2bfloat16_rn(high)};
  return bits_as<unsigned>(pair);
}

template <class T>
constexpr int kPack = 16 / static_cast<int>(sizeof(T));  // numbers in 16 bytes

// kPack<T> numbers as they lie in memory.
template <class T>
struct alignas(16) Pack {
  T number[kPack<T>];
};

// Numbers from `valid` on are zeros and not read. `whole`: the pack lies on a 16-byte border and
// all of it is valid.
template <class T>
__device__ __forceinline__ Pack<T> load_pack(const T* from, int valid, bool whole) {
  if (whole) return *reinterpret_cast<const Pack<T>*>(from);
  Pack<T> pack;
#pragma unroll
  for (int i = 0; i < kPack<T>; ++i)
    if (i < valid)
      pack.number[i] = from[i];
    else
      store(&pack.number[i], 0.0f);
  return pack;
}

__device__ __forceinline__ int lane_of() {
  return static_cast<int>(threadIdx.x) % kWarp;
}
__device__ __forceinline__ int warp_of() {
  return static_cast<int>(threadIdx.x) / kWarp;
}

// Of all lanes, for all lanes, in the same order whatever the lane.
template <class Number>
__device__ __forceinline__ Number warp_sum(Number value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}
__device__ __forceinline__ float warp_max(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2)
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}

// Of all threads, for all threads; blocks are whole warps. `scratch`: one number a warp, in shared
// memory, free again when all threads have passed the next barrier.
template <class Number>
__device__ Number block_sum(Number value, Number* scratch) {
  value = warp_sum(value);
  if (lane_of() == 0) scratch[warp_of()] = value;
  __syncthreads();
  Number sum = 0;
  for (int warp = 0; warp < static_cast<int>(blockDim.x) / kWarp; ++warp) sum += scratch[warp];
  return sum;
}

__device__ __forceinline__ float sigmoid(float x) {
  return 1.0f / (1.0f + expf(-x));
}
__device__ __forceinline__ float silu(float x) {
  return x * sigmoid(x);
}

}  // namespace hearth::kernels::cuda
