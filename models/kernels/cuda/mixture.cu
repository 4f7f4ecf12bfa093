// Which experts a row chooses, and the sum of what they say.

#include <climits>
#include <cmath>

#include "models/kernels/check_operations.h"
#include "models/kernels/cuda/functions.h"
#include "models/kernels/cuda/numbers.cuh"

namespace hearth::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr unsigned kNotANumber = 0x7fc00000u;
static_assert(HEARTH_MAX_EXPERTS <= kWarp * kWarp, "a lane remembers 32 experts by their bits");
static_assert(HEARTH_MAX_CHOSEN <= kWarp, "a lane writes one choice");

struct Candidate {
  float worth;
  int expert;
};

// Of equals the lower number.
__device__ __forceinline__ Candidate better(const Candidate& a, const Candidate& b) {
  const bool first = a.worth > b.worth || (a.worth == b.worth && a.expert < b.expert);
  return first ? a : b;
}

// The best expert of those that are not taken, for all lanes. A lane looks at experts lane,
// lane + 32, …; their bits are in `taken`. Bad numbers count as the least.
__device__ inline Candidate best_of(const float* logits, int experts, unsigned taken) {
  Candidate best{-INFINITY, INT_MAX};
  for (int e = lane_of(), i = 0; e < experts; e += kWarp, ++i) {
    const float logit = logits[e];
    if ((taken >> i & 1u) == 0) best = better({logit == logit ? logit : -INFINITY, e}, best);
  }
  for (int step = kWarp / 2; step > 0; step /= 2)
    best = better(best, {__shfl_xor_sync(kAllLanes, best.worth, step),
                         __shfl_xor_sync(kAllLanes, best.expert, step)});
  return best;
}

// A warp for each row.
__global__ __launch_bounds__(kWarp) void route_kernel(HearthRoute c) {
  wait_for_previous();
  const long long row = blockIdx.x;
  const int lane = lane_of();
  const int experts = static_cast<int>(c.experts);
  const int each = static_cast<int>(c.each);
  int* chosen = c.chosen + row * each;
  float* shares = c.shares + row * each;
  if (c.index != nullptr && c.index[row] < 0) {
    if (lane < each) chosen[lane] = -1, shares[lane] = 0.0f;
    return;
  }
  const float* logits = c.logits + row * c.logits_stride;
  float largest = -INFINITY;
  for (int e = lane; e < experts; e += kWarp) largest = fmaxf(largest, logits[e]);
  largest = warp_max(largest);
  float sum = 0.0f;
  int bad = 0;
  for (int e = lane; e < experts; e += kWarp) {
    sum += expf(logits[e] - largest);
    bad += logits[e] - logits[e] == 0.0f ? 0 : 1;
  }
  sum = warp_sum(sum);
  bad = warp_sum(bad);
  unsigned taken = 0;
  float kept = 0.0f, own = 0.0f;
  for (int j = 0; j < each; ++j) {
    const int expert = best_of(logits, experts, taken).expert;
    if (expert % kWarp == lane) taken |= 1u << (expert / kWarp);
    const float p = expf(logits[expert] - largest) / sum;
    kept += p;
    if (lane == j) own = p, chosen[j] = expert;
  }
  if (lane >= each) return;
  const float share = c.normalised != 0 ? own / kept : own;
  shares[lane] = bad != 0 ? __uint_as_float(kNotANumber) : share;
}

template <class T>
__global__ __launch_bounds__(kThreads) void combine_kernel(HearthCombine c) {
  wait_for_previous();
  const long long row = blockIdx.x;
  const long long i = static_cast<long long>(blockIdx.y) * kThreads + threadIdx.x;
  if (i >= c.width) return;
  T* output = static_cast<T*>(c.output) + row * c.output_stride + i;
  float sum = to_float(*output);
  for (long long at = row * c.each; at < (row + 1) * c.each; ++at) {
    const float share = c.shares[at];
    if (share == 0.0f) continue;
    const long long place = c.place == nullptr ? at : c.place[at];
    sum = fmaf(share, to_float(static_cast<const T*>(c.input)[place * c.width + i]), sum);
  }
  store(output, sum);
}

}  // namespace

HearthStatus route(const HearthRoute* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  return launch({dim3(static_cast<unsigned>(call->rows)), kWarp}, stream, route_kernel, *call);
}

HearthStatus combine(const HearthCombine* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  auto* kernel = call->type == HEARTH_F32 ? &combine_kernel<float> : &combine_kernel<BFloat16>;
  const dim3 grid(static_cast<unsigned>(call->rows), blocks_for(call->width, kThreads));
  return launch({grid, kThreads}, stream, kernel, *call);
}

}  // namespace hearth::kernels::cuda
