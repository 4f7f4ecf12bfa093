#include "models/torch/feature_cache.h"

namespace hearth::engine {

std::uint64_t Features::bytes() const {
  std::uint64_t bytes = rows.nbytes();
  for (const at::Tensor& level : deepstack) bytes += level.nbytes();
  return bytes;
}

FeatureCache::Entry FeatureCache::find(const Key& key) {
  const auto found = places_.find(key);
  if (found == places_.end()) return nullptr;
  ++hits_;
  items_.splice(items_.begin(), items_, found->second);
  return found->second->features;
}

void FeatureCache::insert(const Key& key, Entry features) {
  ++misses_;
  const std::uint64_t bytes = features->bytes();
  if (bytes > budget_bytes_ || places_.count(key) != 0) return;
  while (bytes_ + bytes > budget_bytes_) drop_oldest();
  items_.push_front({key, std::move(features), bytes});
  places_.emplace(key, items_.begin());
  bytes_ += bytes;
}

void FeatureCache::clear() {
  while (!items_.empty()) drop_oldest();
}

void FeatureCache::drop_oldest() {
  bytes_ -= items_.back().bytes;
  places_.erase(items_.back().key);
  items_.pop_back();
}

generate::CacheUse FeatureCache::use() const {
  return {.name = "vision",
          .entries = items_.size(),
          .bytes = bytes_,
          .budget_bytes = budget_bytes_,
          .hits = hits_,
          .misses = misses_};
}

}  // namespace hearth::engine
