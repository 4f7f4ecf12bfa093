// What the pages of a sequence hold, as keys: equal keys, equal keys and values in the cache.
//
// A key covers everything before the page too (a chain of hashes), the user whose sequence it is,
// and the pictures: a picture's token counts as its content and its offset within the picture, so
// the same picture has the same keys and another one has others. Keys of two caches, of two models
// thus, are never equal: each has a random hash key of its own.
//
// Plain values; engine thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/generate/decoder.h"
#include "models/generate/siphash.h"

namespace hearth::generate {

using PageKey = std::array<std::uint64_t, 2>;

struct PageKeyHash {
  std::size_t operator()(const PageKey& key) const { return static_cast<std::size_t>(key[0]); }
};

class PageChain {
 public:
  PageChain(const SipKey& hash_key, std::uint32_t user, std::int32_t page_tokens);

  void add_prompt(const TokenPrompt& prompt);
  void add_answer(std::span<const std::int32_t> ids);

  std::int32_t tokens() const { return static_cast<std::int32_t>(units_.size()); }
  std::int32_t whole_pages() const { return static_cast<std::int32_t>(keys_.size()) - 1; }
  std::int32_t page_tokens() const { return page_tokens_; }

  // Of all before page `index`, which is the key of the page before it. index <= whole_pages().
  const PageKey& before(std::int32_t index) const { return keys_[static_cast<std::size_t>(index)]; }
  // Of a whole page.
  const PageKey& key(std::int32_t index) const { return before(index + 1); }
  // What tells the tokens of a page apart: a number for each, fewer in the last page.
  std::span<const std::uint64_t> units(std::int32_t index) const;

 private:
  void add(std::uint64_t unit);

  SipKey hash_key_;
  std::int32_t page_tokens_;
  std::vector<std::uint64_t> units_;  // by token
  std::vector<PageKey> keys_;         // [whole pages + 1]: the user's, then one a page
};

}  // namespace hearth::generate
