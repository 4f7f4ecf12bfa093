// The memory of all keys and values: pages of HEARTH_PAGE_TOKENS tokens, shared by all sequences.
//
// Which page belongs to whom is decided in generate/; here they are only memory. Engine thread.
#pragma once

#include <cstdint>

#include "models/decoder/description.h"
#include "models/decoder/device_memory.h"
#include "models/generate/decoder.h"

namespace hearth::decoder {

// Bytes that one page takes in all layers.
std::uint64_t page_bytes(const Description& description, HearthType type);

// How many pages to reserve: for `slots` sequences of the longest context allowed, but at most
// `budget_bytes`, and never less than one sequence of kLeastContextTokens (or of the model's own
// context, if that is shorter) needs.
inline constexpr std::int32_t kLeastContextTokens = 4096;
inline constexpr std::int32_t kMostContextTokens = 32'768;
std::int32_t choose_pages(const Description& description, HearthType type, std::int32_t slots,
                          std::uint64_t budget_bytes);
// The most tokens one sequence can have in so many pages.
std::int32_t context_of_pages(const Description& description, std::int32_t pages);

class KvPages {
 public:
  KvPages() = default;  // no pages
  // Errors: out_of_memory.
  static Result<KvPages> create(DeviceMemory& memory, const Description& description,
                                HearthType type, std::int32_t pages);

  std::int32_t pages() const { return pages_; }
  std::uint64_t bytes() const { return block_.bytes(); }
  // Of the layers with attention. [pages, 2, kv_heads, HEARTH_PAGE_TOKENS, head_dim]
  void* layer(std::int32_t layer) const;

  // Copies the first tokens of a page into another, in all layers.
  Result<void> copy(const generate::PageCopy& copy);

 private:
  KvPages(DeviceMemory& memory, DeviceBlock block) : memory_(&memory), block_(std::move(block)) {}

  DeviceMemory* memory_ = nullptr;
  DeviceBlock block_;
  std::int32_t pages_ = 0;
  std::int32_t layers_ = 0;
  std::size_t layer_bytes_ = 0;
  std::size_t page_bytes_ = 0;   // of one layer
  std::size_t token_bytes_ = 0;  // of one head's key or value
};

}  // namespace hearth::decoder
