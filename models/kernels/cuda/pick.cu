// One choice a row: the best id, or a draw among those that the processors leave.

#include "models/kernels/cuda/kept.cuh"

namespace hearth::kernels::cuda {
namespace {

// Sums the weights that are kept, slice by slice.
__device__ void sum_slices(const Row& row, const Kept& kept, PickShared& shared) {
  for (int slice = warp_of(); slice < kSlices; slice += kPickWarps) {
    const float best = row.slices[slice].best;
    const IdRange ids = ids_of_slice(row.vocabulary, slice);
    float sum = 0.0f;
    if (ids.first < ids.end && best >= kept.least_score && weight_of(row, best) >= kept.lightest) {
      for (int id = ids.first + lane_of(); id < ids.end; id += kWarp)
        if (is_kept(row, kept, id)) sum += weight_of(row, row.scores[id]);
      sum = warp_sum(sum);
    }
    if (lane_of() == 0) shared.slice_sum[slice] = sum;
  }
  __syncthreads();
}

// Where the draw's target lies.
struct Target {
  int slice;
  double beyond;  // the weight between the slice's begin and the target
};

// By one warp, each lane for its share of neighbouring slices.
__device__ Target find_slice(const PickShared& shared, double uniform) {
  constexpr int kShare = kSlices / kWarp;
  const float* sums = shared.slice_sum + lane_of() * kShare;
  double own = 0.0;
  for (int i = 0; i < kShare; ++i) own += static_cast<double>(sums[i]);
  const double until = warp_prefix(own);
  const double target = uniform * __shfl_sync(kAllLanes, until, kWarp - 1);
  // Rounding may put the target on the very end: then the last slice that weighs anything has it.
  const unsigned beyond = __ballot_sync(kAllLanes, target < until);
  const unsigned weighing = __ballot_sync(kAllLanes, own > 0.0);
  const int lane =
      beyond != 0 ? __ffs(static_cast<int>(beyond)) - 1 : 31 - __clz(static_cast<int>(weighing));
  Target found{lane * kShare, 0.0};
  double before = until - own;
  for (int i = 0; i < kShare; ++i) {
    if (sums[i] <= 0.0f) continue;
    found = {lane * kShare + i, target - before};
    before += static_cast<double>(sums[i]);
    if (target < before) break;
  }
  return {__shfl_sync(kAllLanes, found.slice, lane), __shfl_sync(kAllLanes, found.beyond, lane)};
}

// The id in which `uniform` of the kept weight ends, in order of ids. By one warp.
__device__ int draw(const Row& row, const Kept& kept, const PickShared& shared, double uniform) {
  const Target target = find_slice(shared, uniform);
  const IdRange ids = ids_of_slice(row.vocabulary, target.slice);
  double before = 0.0;
  int last = ids.first;
  for (int first = ids.first; first < ids.end; first += kWarp) {
    const int id = first + lane_of();
    const float weight =
        id < ids.end && is_kept(row, kept, id) ? weight_of(row, row.scores[id]) : 0.0f;
    const double until = before + warp_prefix(static_cast<double>(weight));
    const unsigned weighing = __ballot_sync(kAllLanes, weight > 0.0f);
    const unsigned reached = __ballot_sync(kAllLanes, weight > 0.0f && target.beyond < until);
    if (reached != 0) return first + __ffs(static_cast<int>(reached)) - 1;
    if (weighing != 0) last = first + 31 - __clz(static_cast<int>(weighing));
    before = __shfl_sync(kAllLanes, until, kWarp - 1);
  }
  return last;
}

// The best id of all slices, and whether all logits are finite.
__device__ Slice best_of_slices(const Slice* slices, PickShared& shared) {
  shared.key[threadIdx.x] = key_of(slices[threadIdx.x].best, slices[threadIdx.x].id);
  const int broken = __syncthreads_or(slices[threadIdx.x].finite == 0);
  for (int step = kSlices / 2; step > 0; step /= 2) {
    if (static_cast<int>(threadIdx.x) < step)
      shared.key[threadIdx.x] = max(shared.key[threadIdx.x], shared.key[threadIdx.x + step]);
    __syncthreads();
  }
  const unsigned long long best = shared.key[0];
  __syncthreads();
  return {key_score(best), key_id(best), broken == 0};
}

__global__ __launch_bounds__(kPickThreads) void pick_kernel(HearthSample c) {
  auto& shared = *reinterpret_cast<PickShared*>(shared_memory());
  wait_for_previous();
  const long long number = blockIdx.x;
  const SampleRow memory = sample_row(c, number);
  if (!is_running(c, number)) {
    if (threadIdx.x == 0) *memory.choice = kNothing;
    return;
  }
  const HearthSlot& slot = c.slots[c.slot[number]];
  const Slice best = best_of_slices(memory.slices, shared);
  if (best.finite == 0 || is_greedy(slot)) {
    if (threadIdx.x == 0) *memory.choice = best.finite == 0 ? kNotFinite : best.id;
    return;
  }
  const Row row{memory.scores, memory.slices, static_cast<int>(c.vocabulary), best.best};
  const Kept kept = keep(row, shared, slot);
  sum_slices(row, kept, shared);
  if (warp_of() != 0) return;
  const int id = draw(row, kept, shared, philox_uniform(slot.seed, slot.answer_index, slot.step));
  if (lane_of() == 0) *memory.choice = id;
}

}  // namespace

HearthStatus launch_pick(const HearthSample& call, void* stream) {
  return launch({dim3(static_cast<unsigned>(call.rows)), kPickThreads, sizeof(PickShared)}, stream,
                pick_kernel, call);
}

}  // namespace hearth::kernels::cuda
