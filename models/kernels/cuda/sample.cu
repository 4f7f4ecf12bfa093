#include "models/kernels/check_operations.h"
#include "models/kernels/cuda/functions.h"
#include "models/kernels/cuda/sample.cuh"

namespace hearth::kernels::cuda {
namespace {

constexpr int kScoreWarps = 8;  // a warp for each slice
constexpr int kScoreThreads = kScoreWarps * kWarp;
constexpr int kCountAnswered = 0x7FFF;

// The processors in transformers' order, in its arithmetic.
__device__ float score_of(const HearthSlot& slot, float logit, int count) {
  float score = logit;
  if (count != 0)
    score = score < 0.0f ? score * slot.repetition_penalty : score / slot.repetition_penalty;
  const int answered = count & kCountAnswered;
  if (answered != 0) score -= slot.presence_penalty;
  score -= slot.frequency_penalty * static_cast<float>(answered);
  return is_greedy(slot) ? score : score / slot.temperature;
}

__device__ bool is_better(float score, int id, float than, int than_id) {
  return score > than || (score == than && id < than_id);
}

__device__ Slice warp_best(Slice slice) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const float best = __shfl_xor_sync(kAllLanes, slice.best, step);
    const int id = __shfl_xor_sync(kAllLanes, slice.id, step);
    slice.finite &= __shfl_xor_sync(kAllLanes, slice.finite, step);
    if (is_better(best, id, slice.best, slice.id)) {
      slice.best = best;
      slice.id = id;
    }
  }
  return slice;
}

__global__ __launch_bounds__(kScoreThreads) void score_kernel(HearthSample c) {
  wait_for_previous();
  const long long row = blockIdx.x;
  if (!is_running(c, row)) return;
  const HearthSlot& slot = c.slots[c.slot[row]];
  const float* logits = c.logits + row * c.logits_stride;
  const unsigned short* counts = c.counts + c.slot[row] * c.vocabulary;
  const std::uint32_t* mask = mask_of(c, c.slot[row]);
  const SampleRow out = sample_row(c, row);
  const int number = static_cast<int>(blockIdx.y) * kScoreWarps + warp_of();
  const IdRange ids = ids_of_slice(c.vocabulary, number);
  Slice slice{-INFINITY, 0x7fffffff, 1};
  if (ids.first == ids.end) {
    if (lane_of() == 0) out.slices[number] = slice;
    return;
  }
  for (int id = ids.first + lane_of(); id < ids.end; id += kWarp) {
    const float logit = __ldcs(logits + id);
    const float score = is_masked(mask, id) ? -INFINITY : score_of(slot, logit, counts[id]);
    out.scores[id] = score;
    slice.finite &= (__float_as_uint(logit) & 0x7f800000u) != 0x7f800000u;
    if (is_better(score, id, slice.best, slice.id)) {
      slice.best = score;
      slice.id = id;
    }
  }
  slice = warp_best(slice);
  if (lane_of() == 0) out.slices[number] = slice;
}

__device__ unsigned long long device_time_ns() {
#if defined(__CUDA_ARCH__)
  unsigned long long time;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(time));
  return time;
#else
  return 0;
#endif
}

__device__ bool ends(const HearthSlot& slot, int token) {
  for (int i = 0; i < slot.end_count && i < HEARTH_MAX_END_IDS; ++i)
    if (slot.end_ids[i] == token) return true;
  return false;
}

// Moves the slot on; the flags of the ring's entry.
__device__ unsigned accept(const HearthSample& c, HearthSlot& slot, unsigned short& count,
                           int token) {
  if ((count & kCountAnswered) != kCountAnswered) ++count;
  slot.token = token;
  if (c.first == 0) ++slot.length;
  ++slot.step;
  if (!ends(slot, token) && static_cast<long long>(slot.step) < slot.most_steps) return 0;
  slot.flags |= HEARTH_SLOT_DONE;
  return HEARTH_SAMPLED_LAST;
}

__device__ HearthSampled finish_row(const HearthSample& c, long long row,
                                    unsigned long long time_ns) {
  HearthSampled entry{0, c.slot[row], -1, 0, HEARTH_SAMPLED_NOTHING, 0, time_ns};
  if (entry.slot < 0) return entry;
  HearthSlot& slot = c.slots[entry.slot];
  entry.sequence = slot.sequence;
  entry.step = slot.step;
  const int choice = *sample_row(c, row).choice;
  if (choice >= 0) {
    entry.token = choice;
    entry.flags = accept(c, slot, c.counts[entry.slot * c.vocabulary + choice], choice);
  } else if (choice == kNotFinite) {
    entry.flags = HEARTH_SAMPLED_NOT_FINITE | HEARTH_SAMPLED_LAST;
    slot.flags |= HEARTH_SLOT_DONE;
  }
  return entry;
}

// One warp: entries are written, made visible to the host, and only then counted.
__global__ __launch_bounds__(kWarp) void finish_kernel(HearthSample c) {
  wait_for_previous();
  const unsigned long long time_ns = device_time_ns();
  const unsigned long long head = *c.ring_head;
  for (long long row = threadIdx.x; row < c.rows; row += kWarp)
    c.ring[(head + row) % c.ring_size] = finish_row(c, row, time_ns);
  __threadfence_system();
  __syncwarp();
  if (threadIdx.x == 0) *static_cast<volatile uint64_t*>(c.ring_head) = head + c.rows;
}

}  // namespace

HearthStatus sample(const HearthSample* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  const dim3 grid(static_cast<unsigned>(call->rows), kSlices / kScoreWarps);
  HearthStatus status = launch({grid, kScoreThreads}, stream, score_kernel, *call);
  if (status == HEARTH_OK) status = launch_pick(*call, stream);
  if (status == HEARTH_OK) status = launch({dim3(1), kWarp}, stream, finish_kernel, *call);
  return status;
}

}  // namespace hearth::kernels::cuda
