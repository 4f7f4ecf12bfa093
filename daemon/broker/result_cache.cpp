#include "daemon/broker/result_cache.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace hearth::broker {

std::uint64_t ResultCache::Kept::bytes() const {
  return sizeof(Kept) + body.size() + key.word.size() + key.model.size();
}

void ResultCache::set_budget(std::uint64_t budget_bytes) {
  budget_bytes_ = budget_bytes;
  while (bytes_ > budget_bytes_) drop_least_useful();
}

const std::string* ResultCache::find(const Key& key) {
  const auto found = by_key_.find(key);
  ++(found == by_key_.end() ? misses_ : hits_);
  if (found == by_key_.end()) return nullptr;
  std::list<Kept>& kept = users_.at(key.user).kept;
  kept.splice(kept.begin(), kept, found->second);
  return &found->second->body;
}

void ResultCache::keep(const Key& key, std::string body) {
  if (const auto earlier = by_key_.find(key); earlier != by_key_.end())
    drop(key.user, earlier->second);
  Kept kept{key, std::move(body)};
  const std::uint64_t nbytes = kept.bytes();
  if (nbytes > budget_bytes_) return;
  while (bytes_ + nbytes > budget_bytes_) drop_least_useful();
  User& user = users_[key.user];
  user.kept.push_front(std::move(kept));
  user.bytes += nbytes;
  bytes_ += nbytes;
  by_key_[key] = user.kept.begin();
}

contract::CacheEntry ResultCache::use() const {
  contract::CacheEntry use;
  use.name = "result";
  use.entries = by_key_.size();
  use.bytes = bytes_;
  use.budget_bytes = budget_bytes_;
  use.hits = hits_;
  use.misses = misses_;
  return use;
}

void ResultCache::drop(uid_t id, std::list<Kept>::iterator kept) {
  const auto user = users_.find(id);
  const std::uint64_t nbytes = kept->bytes();
  user->second.bytes -= nbytes;
  bytes_ -= nbytes;
  by_key_.erase(kept->key);
  user->second.kept.erase(kept);
  if (user->second.kept.empty()) users_.erase(user);
}

void ResultCache::drop_least_useful() {
  const auto most = std::max_element(
      users_.begin(), users_.end(),
      [](const auto& a, const auto& b) { return a.second.bytes < b.second.bytes; });
  drop(most->first, std::prev(most->second.kept.end()));
}

}  // namespace hearth::broker
