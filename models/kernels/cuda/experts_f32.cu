// fp32 inputs by fp32 arithmetic, whatever the weights: a warp for each output of each entry.

#include "models/kernels/cuda/experts.cuh"

namespace hearth::kernels::cuda {
namespace {

// For all lanes.
__device__ float sum_feature(const LinearCall& c, const InputScales& shared, int input,
                             int feature) {
  float sum = 0.0f;
  for (int k = 4 * lane_of(); k < c.weight.in_features; k += 4 * kWarp) {
    float w[4] = {};
    float x[4];
    weights_at(c.weight, feature, k, w);
    normed_four(c, shared, input, k, x);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum = fmaf(w[i], x[i], sum);
  }
  return warp_sum(sum);
}

__global__ __launch_bounds__(kLinearThreads) void experts_f32_kernel(ExpertCall c) {
  auto& shared = *reinterpret_cast<InputScales*>(shared_memory());
  wait_for_previous();
  find_scales(c.linear, shared);
  const int each = c.linear.epilogue == HEARTH_SWIGLU ? 2 : 1;  // features of an output
  const int outputs = c.linear.weight.out_features / each;
  for (int i = blockIdx.x * kLinearWarps + warp_of(); i < c.entries * outputs;
       i += gridDim.x * kLinearWarps) {
    const int entry = i / outputs;
    const int expert = c.chosen[entry];
    if (expert < 0 || expert >= c.count) continue;
    const LinearCall linear = linear_of(c, expert);
    const int input = c.own_inputs ? entry : entry / c.each;
    const int feature = i % outputs * each;
    float y[2] = {};
    for (int j = 0; j < each; ++j) y[j] = sum_feature(linear, shared, input, feature + j);
    if (lane_of() == 0) finish_output(linear, entry, feature, y);
  }
}

}  // namespace

HearthStatus experts_f32(const ExpertCall& call, const Device& device, void* stream) {
  const long long outputs = static_cast<long long>(call.entries) * call.linear.weight.out_features;
  const unsigned blocks =
      min(blocks_for(outputs, kLinearWarps), static_cast<unsigned>(4 * device.multiprocessors));
  return launch({dim3(blocks), kLinearThreads, sizeof(InputScales)}, stream, experts_f32_kernel,
                call);
}

}  // namespace hearth::kernels::cuda
