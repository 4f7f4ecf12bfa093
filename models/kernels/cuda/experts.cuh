// Linears of the experts that rows have chosen: the products of linear_products.cuh, a block at a
// time for one tile of one expert and all rows that want it.
//
// Which experts are wanted stands in device memory: the launch is made for as many as there can be,
// and every block sorts the few choices for itself.
#pragma once

#include "models/kernels/cuda/linear_products.cuh"

namespace hearth::kernels::cuda {

// A choice is an entry: entry row * each + j.
constexpr int kMostEntries = HEARTH_MAX_ROWS * HEARTH_MAX_CHOSEN;
constexpr int kMostMembers = HEARTH_MAX_ROWS;  // entries of one expert
static_assert(kMostEntries <= kLinearThreads, "a thread sorts one entry");

struct ExpertCall {
  LinearCall linear;  // of the first expert; rows: inputs, output: [entries, width]
  long long stride_bytes;
  int count;  // experts
  int each;
  int entries;
  bool own_inputs;  // an input for each entry, not for each row
  const int* chosen;
};

__device__ __forceinline__ LinearCall linear_of(const ExpertCall& c, int expert) {
  LinearCall linear = c.linear;
  const long long offset = expert * c.stride_bytes;
  linear.weight.data += offset;
  if (linear.weight.scales != nullptr)
    linear.weight.scales = static_cast<const unsigned char*>(linear.weight.scales) + offset;
  return linear;
}

// Entries by expert, experts in the order of their first entry.
struct ExpertGroups {
  short expert[kMostEntries];  // of an entry; -1: none
  bool leads[kMostEntries];    // whether an entry is its expert's first
  int count;
  unsigned char size[kMostEntries];                   // of a group
  unsigned char members[kMostEntries][kMostMembers];  // of a group: its entries in order
};

// All threads of the block; done when it returns.
__device__ inline void group_entries(const ExpertCall& c, ExpertGroups& groups) {
  const int own = static_cast<int>(threadIdx.x);
  int expert = own < c.entries ? c.chosen[own] : -1;
  if (expert < 0 || expert >= c.count) expert = -1;
  if (own < kMostEntries) groups.expert[own] = static_cast<short>(expert);
  __syncthreads();
  int before = 0, size = 0, leader = own;
  for (int i = 0; expert >= 0 && i < c.entries; ++i) {
    if (groups.expert[i] != expert) continue;
    if (size == 0) leader = i;
    before += i < own ? 1 : 0;
    ++size;
  }
  if (own < kMostEntries) groups.leads[own] = expert >= 0 && leader == own;
  __syncthreads();
  if (own == 0) groups.count = 0;
  int number = 0;
  for (int i = 0; expert >= 0 && i < leader; ++i) number += groups.leads[i] ? 1 : 0;
  if (expert >= 0 && before < kMostMembers) {
    groups.members[number][before] = static_cast<unsigned char>(own);
    if (before == 0) groups.size[number] = static_cast<unsigned char>(min(size, kMostMembers));
  }
  __syncthreads();
  if (expert >= 0 && before == 0) atomicAdd(&groups.count, 1);
  __syncthreads();
}

struct MemberRows {
  const unsigned char* entries;
  int count;
  int each;
  bool own_inputs;
  __device__ __forceinline__ int input(int i) const {
    return own_inputs ? entries[i] : entries[i] / each;
  }
  __device__ __forceinline__ int output(int i) const { return entries[i]; }
};

template <int kRowTiles>
struct alignas(16) ExpertShared {
  LinearShared<kRowTiles> linear;
  ExpertGroups groups;
  // then, where inputs are staged: bf16 [inputs, pitch]
};

template <class Format, int kRowTiles>
__global__ __launch_bounds__(kLinearThreads, 2) void experts_kernel(ExpertCall c) {
  auto& shared = *reinterpret_cast<ExpertShared<kRowTiles>*>(shared_memory());
  auto* staged = reinterpret_cast<BFloat16*>(&shared + 1);
  wait_for_previous();
  find_scales(c.linear, shared.linear.input);
  if (c.linear.pitch != 0)
    stage_input(c.linear, shared.linear.input, units_of<Format>(c.linear.weight) * Format::kUnit,
                staged);
  group_entries(c, shared.groups);
  const int tiles = (c.linear.weight.out_features + kTile - 1) / kTile;
  for (int item = blockIdx.x; item < shared.groups.count * tiles; item += gridDim.x) {
    const int group = item / tiles;
    const unsigned char* members = shared.groups.members[group];
    const MemberRows rows{members, shared.groups.size[group], c.each, c.own_inputs};
    const LinearCall linear = linear_of(c, shared.groups.expert[members[0]]);
    compute_tile<Format, kRowTiles>(linear, shared.linear, staged, rows, item % tiles);
  }
}

template <class Format, int kRowTiles>
HearthStatus launch_experts(ExpertCall call, const Device& device, void* stream) {
  const std::size_t bytes =
      plan_staging<Format>(call.linear, sizeof(ExpertShared<kRowTiles>), device);
  const int tiles = (call.linear.weight.out_features + kTile - 1) / kTile;
  return launch_resident(&experts_kernel<Format, kRowTiles>, call,
                         min(call.entries, call.count) * tiles, bytes, device, stream);
}

template <class Format>
HearthStatus expert_products(const ExpertCall& call, const Device& device, void* stream) {
  const bool few = call.entries <= kFragmentRows * call.each;  // rows that one expert can have
  return few ? launch_experts<Format, 1>(call, device, stream)
             : launch_experts<Format, 2>(call, device, stream);
}

HearthStatus experts_f32(const ExpertCall& call, const Device& device, void* stream);
HearthStatus experts_bf16(const ExpertCall& call, const Device& device, void* stream);
HearthStatus experts_fp8(const ExpertCall& call, const Device& device, void* stream);
HearthStatus experts_int8(const ExpertCall& call, const Device& device, void* stream);
HearthStatus experts_int4(const ExpertCall& call, const Device& device, void* stream);

}  // namespace hearth::kernels::cuda
