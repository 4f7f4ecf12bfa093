// How attention and sampling divide their workspaces. C++17, because CUDA sources include it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "models/kernels/kernels.h"

namespace hearth::kernels {

inline constexpr std::size_t kWorkspaceAlignment = 64;

constexpr std::size_t aligned_bytes(std::size_t bytes) {
  return (bytes + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment;
}

// Parts of HEARTH_SPLIT_TOKENS that `tokens` cached tokens fall into.
constexpr std::int64_t split_count(std::int64_t tokens) {
  return (tokens + HEARTH_SPLIT_TOKENS - 1) / HEARTH_SPLIT_TOKENS;
}

// A part's result for one query head: head_dim accumulated values, then the largest score, then the
// sum of weights. Parts: f32 [rows, heads, splits, head_dim + 2], from the workspace's start.
constexpr std::int64_t part_floats(std::int64_t head_dim) {
  return head_dim + 2;
}

inline float* part_of(const HearthAttention& call, std::int64_t row, std::int64_t head,
                      std::int64_t split) {
  const std::int64_t part = (row * call.heads + head) * split_count(call.most_tokens) + split;
  return static_cast<float*>(call.workspace) + part * part_floats(call.cache.head_dim);
}

// Behind the parts: i32 [rows, heads], for counting the parts that are done.
constexpr std::size_t attention_counters_at(std::int64_t rows, std::int64_t heads,
                                            std::int64_t head_dim, std::int64_t most_tokens) {
  return aligned_bytes(
      static_cast<std::size_t>(rows * heads * split_count(most_tokens) * part_floats(head_dim)) *
      sizeof(float));
}

// Sampling: for each row 8 bytes an id and kSampleRowBytes more; 16 bytes an id for all of them.
inline constexpr std::size_t kSampleRowBytes = std::size_t{64} * 1024;

}  // namespace hearth::kernels
