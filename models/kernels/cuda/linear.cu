// A linear for few rows on the GPU: one warp an output feature, 16-byte loads, every weight read
// once for all rows.

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "models/kernels/check.h"

namespace hearth::kernels {
namespace {

constexpr int kWarp = 32;
constexpr int kWarpsPerBlock = 4;
constexpr int kRowsAtOnce = 4;  // input rows whose sums stay in registers together

__device__ inline float to_float(float value) {
  return value;
}
__device__ inline float to_float(__nv_bfloat16 value) {
  return __bfloat162float(value);
}
__device__ inline void store(float* target, float value) {
  *target = value;
}
__device__ inline void store(__nv_bfloat16* target, float value) {
  *target = __float2bfloat16_rn(value);
}

template <class T>
struct Args {
  const T* weight;
  const T* bias;
  const T* input;
  T* output;
  int rows;
  long long in_features, out_features, input_stride, output_stride;
};

// Sums of this lane for input rows [first, first + count): lane l takes every 32nd pack.
template <class T>
__device__ void accumulate(const Args<T>& a, long long feature, int first, int count, float* sums) {
  constexpr int kPack = 16 / sizeof(T);
  const int lane = threadIdx.x % kWarp;
  const T* weight = a.weight + feature * a.in_features;
  const bool aligned = a.in_features % kPack == 0 && a.input_stride % kPack == 0;
  const long long packed = aligned ? a.in_features / kPack * kPack : 0;
  for (long long i = lane * kPack; i < packed; i += kWarp * kPack) {
    const uint4 raw = __ldcs(reinterpret_cast<const uint4*>(weight + i));
    const T* w = reinterpret_cast<const T*>(&raw);
    for (int r = 0; r < count; ++r) {
      const uint4 raw_x =
          *reinterpret_cast<const uint4*>(a.input + (first + r) * a.input_stride + i);
      const T* x = reinterpret_cast<const T*>(&raw_x);
#pragma unroll
      for (int k = 0; k < kPack; ++k) sums[r] += to_float(w[k]) * to_float(x[k]);
    }
  }
  for (long long i = packed + lane; i < a.in_features; i += kWarp)
    for (int r = 0; r < count; ++r)
      sums[r] += to_float(weight[i]) * to_float(a.input[(first + r) * a.input_stride + i]);
}

template <class T>
__global__ void linear_kernel(Args<T> a) {
  const long long feature =
      static_cast<long long>(blockIdx.x) * kWarpsPerBlock + threadIdx.x / kWarp;
  if (feature >= a.out_features) return;
  const float bias = a.bias ? to_float(a.bias[feature]) : 0.0f;
  for (int first = 0; first < a.rows; first += kRowsAtOnce) {
    const int count = min(kRowsAtOnce, a.rows - first);
    float sums[kRowsAtOnce] = {};
    accumulate(a, feature, first, count, sums);
    for (int r = 0; r < count; ++r) {
      for (int step = kWarp / 2; step > 0; step /= 2)
        sums[r] += __shfl_xor_sync(0xffffffffu, sums[r], step);
      if (threadIdx.x % kWarp == 0)
        store(a.output + (first + r) * a.output_stride + feature, sums[r] + bias);
    }
  }
}

template <class T>
HearthStatus launch(const HearthLinear& l, cudaStream_t stream) {
  const Args<T> args{static_cast<const T*>(l.weight),
                     static_cast<const T*>(l.bias),
                     static_cast<const T*>(l.input),
                     static_cast<T*>(l.output),
                     static_cast<int>(l.rows),
                     l.in_features,
                     l.out_features,
                     l.input_stride,
                     l.output_stride};
  const unsigned blocks =
      static_cast<unsigned>((l.out_features + kWarpsPerBlock - 1) / kWarpsPerBlock);
  linear_kernel<T><<<blocks, kWarpsPerBlock * kWarp, 0, stream>>>(args);
  switch (cudaGetLastError()) {
    case cudaSuccess:
      return HEARTH_OK;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
      return HEARTH_NO_DEVICE;
    default:
      return HEARTH_LAUNCH_FAILED;
  }
}

}  // namespace
}  // namespace hearth::kernels

HearthStatus hearth_linear_cuda(const HearthLinear* linear, void* stream) {
  using namespace hearth::kernels;
  if (const HearthStatus status = check(linear); status != HEARTH_OK) return status;
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  return linear->type == HEARTH_F32 ? launch<float>(*linear, cuda_stream)
                                    : launch<__nv_bfloat16>(*linear, cuda_stream);
}
