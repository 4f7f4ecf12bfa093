// fp32 inputs by fp32 arithmetic, whatever the weights: a warp for each output, four rows at a
// time. For tests and small models; what has to be fast computes in bf16.

#include "models/kernels/cuda/linear.cuh"

namespace hearth::kernels::cuda {
namespace {

constexpr int kRowsAtOnce = 4;

// Sums of one feature for rows [first, first + kRowsAtOnce), for all lanes. A row's sum is grouped
// in the same way whatever the other rows are.
__device__ void sum_feature(const LinearCall& c, const InputScales& shared, int feature, int first,
                            float* sums) {
  for (int k = 4 * lane_of(); k < c.weight.in_features; k += 4 * kWarp) {
    float w[4] = {};
    weights_at(c.weight, feature, k, w);
#pragma unroll
    for (int r = 0; r < kRowsAtOnce; ++r) {
      if (first + r >= c.rows) break;
      float x[4];
      normed_four(c, shared, first + r, k, x);
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[r] = fmaf(w[i], x[i], sums[r]);
    }
  }
#pragma unroll
  for (int r = 0; r < kRowsAtOnce; ++r) sums[r] = warp_sum(sums[r]);
}

__global__ __launch_bounds__(kLinearThreads) void f32_kernel(LinearCall c) {
  auto& shared = *reinterpret_cast<InputScales*>(shared_memory());
  wait_for_previous();
  find_scales(c, shared);
  const int each = c.epilogue == HEARTH_SWIGLU ? 2 : 1;  // features of an output
  const int outputs = c.weight.out_features / each;
  for (int i = blockIdx.x * kLinearWarps + warp_of(); i < outputs; i += gridDim.x * kLinearWarps) {
    for (int first = 0; first < c.rows; first += kRowsAtOnce) {
      float sums[2][kRowsAtOnce] = {};
      for (int j = 0; j < each; ++j) sum_feature(c, shared, i * each + j, first, sums[j]);
      if (lane_of() != 0) continue;
      for (int r = 0; r < kRowsAtOnce && first + r < c.rows; ++r) {
        const float y[2] = {sums[0][r], sums[1][r]};
        finish_output(c, first + r, i * each, y);
      }
    }
  }
}

}  // namespace

HearthStatus linear_f32(const LinearCall& call, const Device& device, void* stream) {
  const unsigned needed = blocks_for(call.weight.out_features, kLinearWarps);
  const unsigned blocks = min(needed, static_cast<unsigned>(4 * device.multiprocessors));
  return launch({dim3(blocks), kLinearThreads, sizeof(InputScales)}, stream, f32_kernel, call);
}

}  // namespace hearth::kernels::cuda
