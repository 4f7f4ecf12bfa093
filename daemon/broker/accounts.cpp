#include "daemon/broker/accounts.h"

#include <algorithm>
#include <cassert>

#include <fmt/format.h>

namespace hearth::broker {
namespace {

using Amount = Accounts::Amount;

template <class N>
Result<void> check_one(std::string_view what, N held, N more, N quota, std::string_view remedy) {
  if (more <= left_of(quota, held)) return {};
  return fail(Code::kBusy,
              fmt::format("The connections of this user hold {} {}; {} more would be over the {} "
                          "they may have together.",
                          held, what, more, quota),
              std::string(remedy));
}

template <class N>
void subtract(N& held, N amount) {
  assert(held >= amount);
  held -= std::min(held, amount);
}

}  // namespace

Result<void> Accounts::check(uid_t user, const Amount& more) const {
  const Amount held = held_by(user);
  const Amount& quota = quota_of(user);
  CHECK_OK(check_one("connections", held.connections, more.connections, quota.connections,
                     "Close idle ones, or raise quota.default.connections."));
  CHECK_OK(check_one("open requests", held.open_requests, more.open_requests, quota.open_requests,
                     "Wait for open requests to end."));
  CHECK_OK(check_one("arenas", held.arenas, more.arenas, quota.arenas,
                     "Drop arenas, or release results."));
  CHECK_OK(check_one("bytes of arenas", held.arena_bytes, more.arena_bytes, quota.arena_bytes,
                     "Drop arenas, release results, or raise quota.default.memory."));
  return check_one("tensors", held.tensors, more.tensors, quota.tensors,
                   "Release results, or wait for open requests to end.");
}

void Accounts::acquire(uid_t user, const Amount& amount) {
  if (amount == Amount{}) return;
  Amount& held = held_[user];
  held.connections += amount.connections;
  held.open_requests += amount.open_requests;
  held.arenas += amount.arenas;
  held.arena_bytes += amount.arena_bytes;
  held.tensors += amount.tensors;
}

void Accounts::release(uid_t user, const Amount& amount) {
  if (amount == Amount{}) return;
  const auto account = held_.find(user);
  assert(account != held_.end());
  if (account == held_.end()) return;
  Amount& held = account->second;
  subtract(held.connections, amount.connections);
  subtract(held.open_requests, amount.open_requests);
  subtract(held.arenas, amount.arenas);
  subtract(held.arena_bytes, amount.arena_bytes);
  subtract(held.tensors, amount.tensors);
  if (held == Amount{}) held_.erase(account);
}

const Amount& Accounts::quota_of(uid_t user) const {
  const auto own = quotas_.find(user);
  return own == quotas_.end() ? usual_ : own->second;
}

Amount Accounts::held_by(uid_t user) const {
  const auto account = held_.find(user);
  return account == held_.end() ? Amount{} : account->second;
}

}  // namespace hearth::broker
