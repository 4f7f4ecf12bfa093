// Pictures on their way into a vision tower: one axis resampled, then cut into patches. Bytes and
// levels are the host's arithmetic, so every implementation gives the same.

#include "models/kernels/check_operations.h"
#include "models/kernels/cuda/functions.h"
#include "models/kernels/cuda/numbers.cuh"

namespace hearth::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kChannels = 3;
constexpr int kLevels = 256;
constexpr long long kMostGridRows = 65535;

// A thread for each byte of an output row; what neighbours read together comes from the cache.
__global__ __launch_bounds__(kThreads) void resample_kernel(HearthResample c) {
  wait_for_previous();
  const long long at = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= c.outputs * c.inner) return;
  const long long i = at / c.inner;
  const long long k = at % c.inner;
  const int count = c.count[i];
  const short* weights = c.weights + i * c.most;
  for (long long o = blockIdx.y; o < c.outer; o += gridDim.y) {
    const unsigned char* source = c.source + (o * c.inputs + c.first[i]) * c.inner + k;
    int sum = 1 << (c.precision - 1);
    for (int j = 0; j < count; ++j) sum += weights[j] * source[j * c.inner];
    c.target[o * c.outputs * c.inner + at] =
        static_cast<unsigned char>(min(max(sum >> c.precision, 0), 255));
  }
}

// A block for each patch, a thread for each of its pixels in turn.
template <class T>
__global__ __launch_bounds__(kThreads) void patchify_kernel(HearthPatchify c) {
  wait_for_previous();
  const long long each = c.merge * c.merge;
  const long long across = c.grid_width / c.merge;
  const long long number = blockIdx.x;
  const long long token = number / each;
  const long long within = number % each;
  const long long top = (token / across * c.merge + within / c.merge) * c.patch;
  const long long left = (token % across * c.merge + within % c.merge) * c.patch;
  const int side = static_cast<int>(c.patch);
  const int pixels = side * side;
  const long long picture_bytes =
      c.pictures == 1 ? 0 : c.grid_height * c.grid_width * pixels * kChannels;
  T* row = static_cast<T*>(c.rows) + number * kChannels * c.frames * pixels;
  for (int i = threadIdx.x; i < pixels; i += kThreads) {
    const long long pixel = (top + i / side) * c.grid_width * side + left + i % side;
    for (int channel = 0; channel < kChannels; ++channel) {
      const unsigned char* byte = c.picture + pixel * kChannels + channel;
      for (long long frame = 0; frame < c.frames; ++frame)
        store(row + (channel * c.frames + frame) * pixels + i,
              c.level[channel * kLevels + byte[frame * picture_bytes]]);
    }
  }
}

}  // namespace

HearthStatus resample(const HearthResample* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  const dim3 grid(blocks_for(call->outputs * call->inner, kThreads),
                  static_cast<unsigned>(call->outer < kMostGridRows ? call->outer : kMostGridRows));
  return launch({grid, kThreads}, stream, resample_kernel, *call);
}

HearthStatus patchify(const HearthPatchify* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  auto* kernel = call->type == HEARTH_F32 ? &patchify_kernel<float> : &patchify_kernel<BFloat16>;
  const dim3 grid(static_cast<unsigned>(call->grid_height * call->grid_width));
  return launch({grid, kThreads}, stream, kernel, *call);
}

}  // namespace hearth::kernels::cuda
