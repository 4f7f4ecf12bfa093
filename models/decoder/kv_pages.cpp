#include "models/decoder/kv_pages.h"

#include <algorithm>
#include <cassert>

#include "models/kernels/formats.h"

namespace hearth::decoder {
namespace {

std::int32_t pages_for(std::int32_t tokens) {
  return (tokens + HEARTH_PAGE_TOKENS - 1) / HEARTH_PAGE_TOKENS;
}

}  // namespace

std::uint64_t page_bytes(const Description& description, HearthType type) {
  return kv_bytes_per_token(description, kernels::item_bytes(type)) * HEARTH_PAGE_TOKENS;
}

std::int32_t choose_pages(const Description& description, HearthType type, std::int32_t slots,
                          std::uint64_t budget_bytes) {
  const std::int64_t most =
      std::int64_t{slots} * pages_for(std::min(description.context_tokens, kMostContextTokens));
  const std::int64_t least = pages_for(std::min(description.context_tokens, kLeastContextTokens));
  const auto fitting = static_cast<std::int64_t>(budget_bytes / page_bytes(description, type));
  return static_cast<std::int32_t>(std::clamp(fitting, least, std::max(most, least)));
}

std::int32_t context_of_pages(const Description& description, std::int32_t pages) {
  const std::int32_t most = std::min(description.context_tokens, kMostContextTokens);
  return pages >= pages_for(most) ? most : pages * HEARTH_PAGE_TOKENS;
}

Result<KvPages> KvPages::create(DeviceMemory& memory, const Description& description,
                                HearthType type, std::int32_t pages) {
  const LayerDescription& layer = description.layers.front();
  const std::uint64_t bytes = page_bytes(description, type) * static_cast<std::uint64_t>(pages);
  TRY(DeviceBlock block, memory.allocate(bytes));
  KvPages made(memory, std::move(block));
  made.pages_ = pages;
  made.layers_ = description.attention_layers();
  made.layer_bytes_ = bytes / static_cast<std::uint64_t>(made.layers_);
  made.page_bytes_ = made.layer_bytes_ / static_cast<std::size_t>(pages);
  made.token_bytes_ = static_cast<std::size_t>(layer.head_dim) * kernels::item_bytes(type);
  return made;
}

void* KvPages::layer(std::int32_t layer) const {
  return block_.as<std::byte>() + static_cast<std::size_t>(layer) * layer_bytes_;
}

Result<void> KvPages::copy(const generate::PageCopy& copy) {
  assert(copy.from >= 0 && copy.from < pages_ && copy.to >= 0 && copy.to < pages_);
  const std::size_t run_bytes = HEARTH_PAGE_TOKENS * token_bytes_;
  const std::size_t copied_bytes = static_cast<std::size_t>(copy.tokens) * token_bytes_;
  for (std::int32_t i = 0; i < layers_; ++i) {
    auto* pages = static_cast<std::byte*>(layer(i));
    std::byte* to = pages + static_cast<std::size_t>(copy.to) * page_bytes_;
    const std::byte* from = pages + static_cast<std::size_t>(copy.from) * page_bytes_;
    for (std::size_t offset = 0; offset < page_bytes_; offset += run_bytes)
      CHECK_OK(memory_->copy(to + offset, from + offset, copied_bytes));
  }
  return {};
}

}  // namespace hearth::decoder
