// Keys and values of prompts and answers that ended, for the prompts that begin as they do.
//
// Whole pages are shared: nobody writes them any more. Of a page whose beginning alone is equal,
// whole or not, that beginning is copied. Pages that nobody uses are given back when they are
// needed, least recently used first; so the cache is as large as what running sequences leave.
//
// Ownership: marks pages of the PagePool as kept; the pool is borrowed. Engine thread only.
#pragma once

#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>
#include <vector>

#include "models/generate/page_chain.h"
#include "models/generate/pages.h"

namespace hearth::generate {

class PrefixCache {
 public:
  explicit PrefixCache(PagePool& pool);

  struct Match {
    std::vector<std::int32_t> pages;  // whole ones, from the first page on
    std::int32_t copy_from = -1;      // the page that goes on as the chain does
    std::int32_t copy_tokens = 0;     // for so many tokens
  };
  // What is known of the first `most_tokens` tokens of a chain. Changes nothing.
  Match find(const PageChain& chain, std::int32_t most_tokens) const;
  // Whole pages alone.
  std::int32_t known_pages(const PageChain& chain, std::int32_t most_tokens) const;

  // Page `index` of the chain lies in `page`, which is in use. A page that is known with fewer
  // tokens is known with more from here on; what another page holds already is not kept twice.
  void keep(const PageChain& chain, std::int32_t index, std::int32_t page);
  // These pages of a sequence are used by one less, and were used just now: the first most recently
  // of all, because without it the later ones are worth nothing.
  void release(std::span<const std::int32_t> pages);
  // What these pages hold cannot be trusted.
  void forget(std::span<const std::int32_t> pages);

  // Gives back idle pages until `pages` are free. There must be as many free and idle ones.
  void make_room(std::int32_t pages);

  std::int32_t entries() const { return static_cast<std::int32_t>(recent_.size()); }

 private:
  struct Entry {
    PageKey before{};
    PageKey key{};  // of a whole page
    bool whole = false;
    std::vector<std::uint64_t> units;  // what the page holds
    std::list<std::int32_t>::iterator recent;
  };

  void forget(std::int32_t page);
  bool holds(const PageKey& before, std::span<const std::uint64_t> units) const;
  void forget_shorter(std::int32_t page);

  PagePool& pool_;
  std::vector<Entry> entries_;      // by page; of kept pages only
  std::list<std::int32_t> recent_;  // kept pages, the most recently used first
  std::unordered_map<PageKey, std::int32_t, PageKeyHash> whole_;              // by key
  std::unordered_map<PageKey, std::vector<std::int32_t>, PageKeyHash> next_;  // by Entry::before
};

}  // namespace hearth::generate
