#include "models/kernels/check.h"
#include "models/kernels/cuda/functions.h"
#include "models/kernels/cuda/linear_formats.cuh"

namespace hearth::kernels::cuda {
namespace {

constexpr int kThreads = 256;  // a tile's features by a group's quads of inputs
constexpr int kQuads = kGroup / 4;

struct UnpackCall {
  Weights weight;
  int first, count;
  HearthType type;
  void* target;
};

__global__ __launch_bounds__(kThreads) void unpack_kernel(UnpackCall c) {
  wait_for_previous();
  const int i = blockIdx.y * kTile + threadIdx.x / kQuads;
  const int k = blockIdx.x * kGroup + threadIdx.x % kQuads * 4;
  if (i >= c.count || k >= c.weight.in_features) return;
  float w[4] = {};
  weights_at(c.weight, c.first + i, k, w);
  for (int j = 0; j < 4 && k + j < c.weight.in_features; ++j)
    store_at(c.type, c.target, static_cast<long long>(i) * c.weight.in_features + k + j, w[j]);
}

}  // namespace

HearthStatus unpack(const HearthUnpack* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  const UnpackCall c{weights_of(call->matrix), static_cast<int>(call->first),
                     static_cast<int>(call->count), call->type, call->target};
  const dim3 grid(blocks_for(call->matrix.in_features, kGroup), blocks_for(call->count, kTile));
  return launch({grid, kThreads}, stream, unpack_kernel, c);
}

}  // namespace hearth::kernels::cuda
