// Features of pictures that were seen: the same picture with another question needs no vision
// tower.
//
// The least recently used leave when the budget is spent. Whoever holds an entry keeps it alive,
// whether it is still cached or not. Entries of different users never meet, so that nobody's answer
// is faster because another one asked it. Engine thread only.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>

#include "models/generate/decoder.h"
#include "models/torch/features.h"

namespace hearth::engine {

class FeatureCache {
 public:
  struct Key {
    generate::ContentHash content;
    std::uint32_t user = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };
  using Entry = std::shared_ptr<const Features>;

  explicit FeatureCache(std::uint64_t budget_bytes) : budget_bytes_(budget_bytes) {}

  // Null when it is not there. Counts as a use; a picture may be looked for more than once.
  Entry find(const Key& key);
  // What had to be computed: a miss. What is larger than the whole budget is not kept.
  void insert(const Key& key, Entry features);
  void clear();

  generate::CacheUse use() const;

 private:
  struct Item {
    Key key;
    Entry features;
    std::uint64_t bytes = 0;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const {
      return static_cast<std::size_t>(key.content.low ^ key.user);  // already a hash
    }
  };

  void drop_oldest();

  const std::uint64_t budget_bytes_;
  std::uint64_t bytes_ = 0;
  std::uint64_t hits_ = 0;
  std::uint64_t misses_ = 0;
  std::list<Item> items_;  // the most recently used first
  std::unordered_map<Key, std::list<Item>::iterator, Hash> places_;
};

}  // namespace hearth::engine
