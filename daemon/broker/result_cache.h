// Answers that are given again to whoever asks the same: generate requests with a result_key.
//
// A hit needs the same user, the same model (its files and dtype), the same result_key and equal
// fields. Answers are kept without a time limit within one budget of bytes. Who fills it pays: when
// it is full, the least recently used answer of the user who has most of it goes. Values only, no
// ports.
#pragma once

#include <compare>
#include <cstdint>
#include <list>
#include <map>
#include <string>

#include <sys/types.h>

#include "shm/contract/messages.h"

namespace hearth::broker {

namespace handover {
struct Access;
}

class ResultCache {
 public:
  struct Key {
    uid_t user = 0;
    std::string model;              // its id
    std::string word;               // the request's result_key
    std::uint64_t fingerprint = 0;  // of all other fields
    auto operator<=>(const Key&) const = default;
  };

  // 0 keeps nothing.
  explicit ResultCache(std::uint64_t budget_bytes) : budget_bytes_(budget_bytes) {}
  // What is over it goes at once.
  void set_budget(std::uint64_t budget_bytes);

  // The packed answer, valid until the next call; null: none. Counts as a hit or a miss.
  const std::string* find(const Key& key);
  // Takes the place of an earlier answer. One larger than the budget is not kept.
  void keep(const Key& key, std::string body);

  std::uint64_t bytes() const { return bytes_; }
  contract::CacheEntry use() const;

 private:
  friend struct handover::Access;
  struct Kept {
    Key key;
    std::string body;
    std::uint64_t bytes() const;
  };
  struct User {
    std::list<Kept> kept;  // most recently used first
    std::uint64_t bytes = 0;
  };

  void drop(uid_t user, std::list<Kept>::iterator kept);
  void drop_least_useful();

  std::uint64_t budget_bytes_;
  std::map<uid_t, User> users_;  // without users that have nothing
  std::map<Key, std::list<Kept>::iterator> by_key_;
  std::uint64_t bytes_ = 0;
  std::uint64_t hits_ = 0;
  std::uint64_t misses_ = 0;
};

}  // namespace hearth::broker
