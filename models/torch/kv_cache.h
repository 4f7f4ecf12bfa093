// Keys and values of all running sequences: one contiguous range a slot, fixed at load.
//
// On the host the memory is only reserved: the system gives pages as tokens are written, so a short
// sequence costs a short cache. Engine thread only.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/decoder/description.h"

namespace hearth::engine {

class KvCache {
 public:
  KvCache(const decoder::Description& description, std::int32_t slots, std::int32_t context_tokens,
          at::TensorOptions options);

  // [kv_heads, context_tokens, head_dim]
  const at::Tensor& keys(std::int32_t slot, std::int32_t layer) const {
    return keys_[index(slot, layer)];
  }
  const at::Tensor& values(std::int32_t slot, std::int32_t layer) const {
    return values_[index(slot, layer)];
  }
  std::uint64_t reserved_bytes() const { return reserved_bytes_; }

 private:
  std::size_t index(std::int32_t slot, std::int32_t layer) const {
    return static_cast<std::size_t>(slot) * layers_ + static_cast<std::size_t>(layer);
  }

  std::size_t layers_;
  std::uint64_t reserved_bytes_ = 0;
  std::vector<at::Tensor> keys_;  // views, by slot and layer
  std::vector<at::Tensor> values_;
};

// How many tokens a slot holds: what the model was made for, but at most kMostContextTokens, and
// for all slots together at most a kMemoryShare-th of the device's memory, though never less than
// kLeastContextTokens.
inline constexpr std::int32_t kLeastContextTokens = 4096;
inline constexpr std::int32_t kMostContextTokens = 32'768;
inline constexpr std::uint64_t kMemoryShare = 8;
std::int32_t choose_context(const decoder::Description& description, std::size_t item_bytes,
                            std::uint32_t slots, std::uint64_t memory_bytes);

}  // namespace hearth::engine
