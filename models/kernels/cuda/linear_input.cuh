// The input of a linear on its way into the products: norm, rounding to bf16, and how results
// leave.
#pragma once

#include "models/kernels/cuda/linear_formats.cuh"

namespace hearth::kernels::cuda {

constexpr int kLinearWarps = 8;
constexpr int kLinearThreads = kLinearWarps * kWarp;

struct LinearCall {
  Weights weight;
  HearthType type;
  HearthType output_type;
  HearthEpilogue epilogue;
  int rows;
  const void* input;
  long long input_stride;
  bool whole;  // any four inputs from a multiple of four on lie on a border of their size
  const float* norm;
  float norm_epsilon;
  const void* bias;
  void* output;
  long long output_stride;
  int pitch;  // bf16s from one staged row to the next; 0: rows are not staged in shared memory
};

inline LinearCall call_of(const HearthLinear& l) {
  const long long border = l.type == HEARTH_F32 ? 16 : 8;
  return {weights_of(l.weight),
          l.type,
          l.output_type,
          l.epilogue,
          static_cast<int>(l.rows),
          l.input,
          l.input_stride,
          l.input_stride % 4 == 0 && reinterpret_cast<unsigned long long>(l.input) % border == 0,
          l.norm,
          l.norm_epsilon,
          l.bias,
          l.output,
          l.output_stride,
          0};
}

// Where every kernel of the linear begins in its shared memory.
struct InputScales {
  float scale[HEARTH_MAX_ROWS];  // of the RMSNorm of each row; 1 without a norm
  float partial[HEARTH_MAX_ROWS][kLinearWarps];
};

// Four inputs of a row as they lie in memory, zeros beyond the end.
__device__ __forceinline__ void load_four(const LinearCall& c, int row, int k, float* x) {
  const long long at = row * c.input_stride + k;
  if (c.whole && k + 4 <= c.weight.in_features) {
    if (c.type == HEARTH_F32) {
      const float4 four = *reinterpret_cast<const float4*>(static_cast<const float*>(c.input) + at);
      x[0] = four.x, x[1] = four.y, x[2] = four.z, x[3] = four.w;
    } else {
      const uint2 four =
          *reinterpret_cast<const uint2*>(static_cast<const BFloat16*>(c.input) + at);
      x[0] = low_half(four.x), x[1] = high_half(four.x);
      x[2] = low_half(four.y), x[3] = high_half(four.y);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
    x[i] = k + i < c.weight.in_features ? number_at(c.type, c.input, at + i) : 0.0f;
}

// The block works out the scale of each row. Sums are grouped in the same way whatever the number
// of rows, so a row's bits do not depend on its company.
__device__ inline void find_scales(const LinearCall& c, InputScales& shared) {
  for (int row = 0; c.norm != nullptr && row < c.rows; ++row) {
    float squares = 0.0f;
    for (int k = 4 * threadIdx.x; k < c.weight.in_features; k += 4 * kLinearThreads) {
      float x[4];
      load_four(c, row, k, x);
#pragma unroll
      for (int i = 0; i < 4; ++i) squares += x[i] * x[i];
    }
    squares = warp_sum(squares);
    if (lane_of() == 0) shared.partial[row][warp_of()] = squares;
  }
  __syncthreads();
  if (threadIdx.x < HEARTH_MAX_ROWS && static_cast<int>(threadIdx.x) < c.rows) {
    float sum = 0.0f;
    for (int warp = 0; c.norm != nullptr && warp < kLinearWarps; ++warp)
      sum += shared.partial[threadIdx.x][warp];
    shared.scale[threadIdx.x] =
        c.norm == nullptr
            ? 1.0f
            : 1.0f / sqrtf(sum / static_cast<float>(c.weight.in_features) + c.norm_epsilon);
  }
  __syncthreads();
}

// Four inputs of a row, normed.
__device__ __forceinline__ void normed_four(const LinearCall& c, const InputScales& shared, int row,
                                            int k, float* x) {
  load_four(c, row, k, x);
  if (c.norm == nullptr) return;
  const float scale = shared.scale[row];
#pragma unroll
  for (int i = 0; i < 4; ++i)
    x[i] = k + i < c.weight.in_features ? x[i] * scale * __ldg(c.norm + k + i) : 0.0f;
}

// Adds bias, applies the epilogue and stores. `y`: the product, and for SWIGLU the one after it;
// `feature` is the first one's.
__device__ __forceinline__ void finish_output(const LinearCall& c, int row, int feature,
                                              const float* y) {
  const bool swiglu = c.epilogue == HEARTH_SWIGLU;
  const long long at = row * c.output_stride + (swiglu ? feature / 2 : feature);
  const float bias = c.bias ? number_at(c.type, c.bias, feature) : 0.0f;
  float result = y[0] + bias;
  if (swiglu) {
    const float up = y[1] + (c.bias ? number_at(c.type, c.bias, feature + 1) : 0.0f);
    result = silu(result) * up;
  } else if (c.epilogue == HEARTH_ADD) {
    result += number_at(c.output_type, c.output, at);
  }
  store_at(c.output_type, c.output, at, result);
}

}  // namespace hearth::kernels::cuda
