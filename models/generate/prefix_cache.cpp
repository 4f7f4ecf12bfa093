#include "models/generate/prefix_cache.h"

#include <algorithm>

namespace hearth::generate {
namespace {

std::int32_t equal_tokens(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b) {
  const auto differ = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<std::int32_t>(differ.first - a.begin());
}

std::size_t index_of(std::int32_t page) {
  return static_cast<std::size_t>(page);
}

}  // namespace

PrefixCache::PrefixCache(PagePool& pool)
    : pool_(pool), entries_(static_cast<std::size_t>(pool.pages())) {}

std::int32_t PrefixCache::known_pages(const PageChain& chain, std::int32_t most_tokens) const {
  const std::int32_t most = std::min(chain.whole_pages(), most_tokens / chain.page_tokens());
  std::int32_t known = 0;
  while (known < most && whole_.contains(chain.key(known))) ++known;
  return known;
}

PrefixCache::Match PrefixCache::find(const PageChain& chain, std::int32_t most_tokens) const {
  Match match;
  const std::int32_t known = known_pages(chain, most_tokens);
  for (std::int32_t index = 0; index < known; ++index)
    match.pages.push_back(whole_.at(chain.key(index)));
  const auto next = next_.find(chain.before(known));
  const std::int32_t left = most_tokens - known * chain.page_tokens();
  if (next == next_.end() || left <= 0) return match;
  const auto wanted = chain.units(known);
  const auto sought = wanted.first(std::min(wanted.size(), static_cast<std::size_t>(left)));
  for (const std::int32_t page : next->second) {
    const std::int32_t equal = equal_tokens(sought, entries_[index_of(page)].units);
    if (equal <= match.copy_tokens) continue;
    match.copy_from = page;
    match.copy_tokens = equal;
  }
  return match;
}

void PrefixCache::keep(const PageChain& chain, std::int32_t index, std::int32_t page) {
  const auto units = chain.units(index);
  const PageKey& before = chain.before(index);
  if (pool_.kept(page)) {
    if (entries_[index_of(page)].units.size() == units.size()) return;
    forget(page);
  }
  if (holds(before, units)) return;
  pool_.keep(page);
  Entry& entry = entries_[index_of(page)];
  entry.before = before;
  entry.whole = index < chain.whole_pages();
  entry.units.assign(units.begin(), units.end());
  entry.recent = recent_.insert(recent_.begin(), page);
  next_[before].push_back(page);
  if (entry.whole) {
    entry.key = chain.key(index);
    whole_.emplace(entry.key, page);
  }
  forget_shorter(page);
}

// Whether a page is kept that begins with all of `units`.
bool PrefixCache::holds(const PageKey& before, std::span<const std::uint64_t> units) const {
  const auto next = next_.find(before);
  if (next == next_.end()) return false;
  return std::any_of(next->second.begin(), next->second.end(), [&](std::int32_t other) {
    return equal_tokens(units, entries_[index_of(other)].units) ==
           static_cast<std::int32_t>(units.size());
  });
}

// Forgets the pages that hold less of the same than `page` and are no longer written.
void PrefixCache::forget_shorter(std::int32_t page) {
  const Entry& longest = entries_[index_of(page)];
  std::vector<std::int32_t> shorter;
  for (const std::int32_t other : next_.at(longest.before)) {
    const auto& units = entries_[index_of(other)].units;
    if (other != page && pool_.uses(other) == 0 &&
        equal_tokens(units, longest.units) == static_cast<std::int32_t>(units.size()))
      shorter.push_back(other);
  }
  for (const std::int32_t other : shorter) forget(other);
}

void PrefixCache::release(std::span<const std::int32_t> pages) {
  for (auto page = pages.rbegin(); page != pages.rend(); ++page) {
    pool_.drop_use(*page);
    if (pool_.kept(*page))
      recent_.splice(recent_.begin(), recent_, entries_[index_of(*page)].recent);
  }
}

void PrefixCache::forget(std::span<const std::int32_t> pages) {
  for (const std::int32_t page : pages)
    if (pool_.kept(page)) forget(page);
}

void PrefixCache::forget(std::int32_t page) {
  Entry& entry = entries_[index_of(page)];
  const auto next = next_.find(entry.before);
  std::erase(next->second, page);
  if (next->second.empty()) next_.erase(next);
  if (entry.whole) whole_.erase(entry.key);
  recent_.erase(entry.recent);
  entry = {};
  pool_.forget(page);
}

void PrefixCache::make_room(std::int32_t pages) {
  for (auto at = recent_.end(); pool_.free_pages() < pages && at != recent_.begin();) {
    const std::int32_t page = *--at;
    if (pool_.uses(page) > 0) continue;
    ++at;  // past the page, whose place in the list goes with it
    forget(page);
  }
}

}  // namespace hearth::generate
