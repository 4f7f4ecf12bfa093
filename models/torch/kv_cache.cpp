#include "models/torch/kv_cache.h"

#include <algorithm>

#include <ATen/ops/empty.h>

namespace hearth::engine {

KvCache::KvCache(const decoder::Description& description, std::int32_t slots,
                 std::int32_t context_tokens, at::TensorOptions options)
    : layers_(description.layers.size()) {
  const decoder::LayerDescription& layer = description.layers.front();
  const auto layers = static_cast<std::int64_t>(layers_);
  for (std::int32_t slot = 0; slot < slots; ++slot) {
    const at::Tensor both =
        at::empty({layers, 2, layer.kv_heads, context_tokens, layer.head_dim}, options);
    reserved_bytes_ += both.nbytes();
    for (std::int64_t i = 0; i < layers; ++i) {
      keys_.push_back(both[i][0]);
      values_.push_back(both[i][1]);
    }
  }
}

std::int32_t choose_context(const decoder::Description& description, std::size_t item_bytes,
                            std::uint32_t slots, std::uint64_t memory_bytes) {
  const std::uint64_t token_bytes = kv_bytes_per_token(description, item_bytes) * slots;
  const std::uint64_t fitting =
      memory_bytes / kMemoryShare / std::max<std::uint64_t>(token_bytes, 1);
  const auto capped = static_cast<std::int32_t>(
      std::clamp<std::uint64_t>(fitting, kLeastContextTokens, kMostContextTokens));
  return std::min(description.context_tokens, capped);
}

}  // namespace hearth::engine
