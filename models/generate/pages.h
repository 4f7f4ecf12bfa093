// Which pages of the key-value cache are free, in use by running sequences, or kept for later.
//
// A page is free, used (by one sequence that writes it, or by several that read it), or idle: kept
// by the prefix cache and used by nobody. Only numbers are kept here; the memory is the Decoder's.
//
// Threads: engine thread only.
#pragma once

#include <cstdint>
#include <vector>

namespace hearth::generate {

class PagePool {
 public:
  explicit PagePool(std::int32_t pages);

  std::int32_t pages() const { return static_cast<std::int32_t>(uses_.size()); }
  std::int32_t free_pages() const { return static_cast<std::int32_t>(free_.size()); }
  std::int32_t idle_pages() const { return idle_; }
  std::int32_t uses(std::int32_t page) const { return uses_[index(page)]; }
  bool kept(std::int32_t page) const { return kept_[index(page)]; }

  // A free page, with its first use. There must be one.
  std::int32_t take();
  // Of a used or idle page.
  void add_use(std::int32_t page);
  // The last drop frees the page, or leaves it idle when it is kept.
  void drop_use(std::int32_t page);

  // Of a page that is used; it must not be kept already.
  void keep(std::int32_t page);
  // Frees the page when nobody uses it.
  void forget(std::int32_t page);

 private:
  static std::size_t index(std::int32_t page) { return static_cast<std::size_t>(page); }

  std::vector<std::int32_t> uses_;  // by page
  std::vector<bool> kept_;          // by page
  std::vector<std::int32_t> free_;  // the last one is taken next
  std::int32_t idle_ = 0;
};

}  // namespace hearth::generate
