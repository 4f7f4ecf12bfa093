#include "models/kernels/workspace.h"

#include <algorithm>

size_t hearth_attention_workspace_bytes(int64_t rows, int64_t heads, int64_t head_dim,
                                        int64_t most_tokens) {
  using namespace hearth::kernels;
  if (rows < 1 || heads < 1 || head_dim < 1) return 0;
  const std::size_t counters = static_cast<std::size_t>(rows * heads) * sizeof(std::int32_t);
  return attention_counters_at(rows, heads, head_dim, std::max<int64_t>(most_tokens, 1)) +
         aligned_bytes(counters);
}

size_t hearth_sample_workspace_bytes(int64_t rows, int64_t vocabulary) {
  using namespace hearth::kernels;
  if (rows < 1 || vocabulary < 1) return 0;
  const auto ids = static_cast<std::size_t>(vocabulary);
  return static_cast<std::size_t>(rows) * (aligned_bytes(8 * ids) + kSampleRowBytes) +
         aligned_bytes(16 * ids);
}
