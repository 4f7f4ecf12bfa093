// What the connections of each user hold together, against what they may.
//
// Counted by user id because a second connection costs a client nothing. Whatever is acquired is
// released with the same amount; a balance that goes wrong is a defect of the broker and asserts.
#pragma once

#include <map>
#include <unordered_map>
#include <utility>

#include "daemon/broker/ports.h"

namespace hearth::broker {

class Accounts {
 public:
  // A sum of things held; fields that do not matter stay 0.
  using Amount = contract::Quota;

  using Quotas = std::map<uid_t, Amount>;

  // `usual` is the quota of all whom `quotas` does not name.
  explicit Accounts(const Amount& usual, Quotas quotas = {})
      : usual_(usual), quotas_(std::move(quotas)) {}

  // What users hold beyond a smaller quota stays theirs; they get nothing more.
  void set_quotas(const Amount& usual, Quotas quotas) {
    usual_ = usual;
    quotas_ = std::move(quotas);
  }

  // Errors: busy, if `more` would take the user over the quota.
  Result<void> check(uid_t user, const Amount& more) const;
  // Not checked: what the engine already made counts, whether it should have or not.
  void acquire(uid_t user, const Amount& amount);
  void release(uid_t user, const Amount& amount);

  Amount held_by(uid_t user) const;
  const Amount& quota_of(uid_t user) const;
  bool empty() const { return held_.empty(); }  // nobody holds anything

 private:
  friend struct handover::Access;
  Amount usual_;
  Quotas quotas_;
  std::unordered_map<uid_t, Amount> held_;  // without users that hold nothing
};

// What is left of a limit, also where more than it is held.
template <class N>
N left_of(N limit, N held) {
  return held < limit ? limit - held : 0;
}

}  // namespace hearth::broker
