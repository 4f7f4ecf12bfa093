#include "models/generate/pages.h"

#include <cassert>
#include <numeric>

namespace hearth::generate {

PagePool::PagePool(std::int32_t pages)
    : uses_(static_cast<std::size_t>(pages)), kept_(uses_.size()), free_(uses_.size()) {
  std::iota(free_.rbegin(), free_.rend(), 0);
}

std::int32_t PagePool::take() {
  assert(!free_.empty());
  const std::int32_t page = free_.back();
  free_.pop_back();
  uses_[index(page)] = 1;
  return page;
}

void PagePool::add_use(std::int32_t page) {
  assert(uses(page) > 0 || kept(page));
  if (uses_[index(page)]++ == 0) --idle_;
}

void PagePool::drop_use(std::int32_t page) {
  assert(uses(page) > 0);
  if (--uses_[index(page)] > 0) return;
  if (kept(page))
    ++idle_;
  else
    free_.push_back(page);
}

void PagePool::keep(std::int32_t page) {
  assert(uses(page) > 0 && !kept(page));
  kept_[index(page)] = true;
}

void PagePool::forget(std::int32_t page) {
  assert(kept(page));
  kept_[index(page)] = false;
  if (uses(page) > 0) return;
  --idle_;
  free_.push_back(page);
}

}  // namespace hearth::generate
