// Sampling in three launches: scores of all ids (many blocks), one choice a row (a block each), and
// moving the slots on (one warp).
//
// The ids of a row fall into kSlices slices of neighbours. Each slice's best score bounds what lies
// in it, so that the choice reads few of them: the k-th best slice bounds the k-th best score.
#pragma once

#include "models/kernels/cuda/numbers.cuh"
#include "models/kernels/settings.h"
#include "models/kernels/workspace.h"

namespace hearth::kernels::cuda {

constexpr int kSlices = 1024;

constexpr int kNothing = -1;  // choices that are no ids
constexpr int kNotFinite = -2;

struct Slice {
  float best;  // score; -infinity for an empty slice
  int id;      // of the best, the lowest among equals
  int finite;  // whether all its logits are
};

// A row's part of the workspace.
struct SampleRow {
  float* scores;  // [vocabulary]
  Slice* slices;  // [kSlices]
  int* choice;    // [1]
};

static_assert(kSlices * sizeof(Slice) + sizeof(int) <= kSampleRowBytes, "a row's workspace");

__device__ __forceinline__ SampleRow sample_row(const HearthSample& c, long long row) {
  const std::size_t scores_bytes =
      (8 * static_cast<std::size_t>(c.vocabulary) + kWorkspaceAlignment - 1) / kWorkspaceAlignment *
      kWorkspaceAlignment;
  auto* start = static_cast<unsigned char*>(c.workspace) + row * (scores_bytes + kSampleRowBytes);
  auto* slices = reinterpret_cast<Slice*>(start + scores_bytes);
  return {reinterpret_cast<float*>(start), slices, reinterpret_cast<int*>(slices + kSlices)};
}

__device__ __forceinline__ bool is_running(const HearthSample& c, long long row) {
  return c.slot[row] >= 0 && (c.slots[c.slot[row]].flags & HEARTH_SLOT_DONE) == 0;
}

// Ids [first, end) of a slice.
struct IdRange {
  int first, end;
};

__device__ __forceinline__ IdRange ids_of_slice(long long vocabulary, int slice) {
  const int each = static_cast<int>((vocabulary + kSlices - 1) / kSlices);
  const int size = static_cast<int>(vocabulary);
  return {min(slice * each, size), min((slice + 1) * each, size)};
}

HearthStatus launch_pick(const HearthSample& call, void* stream);

}  // namespace hearth::kernels::cuda
