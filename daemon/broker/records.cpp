#include "daemon/broker/records.h"

#include <algorithm>
#include <utility>

namespace hearth::broker {
namespace {

// Keys and numbers of a packed record, with room to spare; its texts come on top.
constexpr std::size_t kFixedBytes = 2560;
constexpr std::size_t kTextBytes = 5;  // msgpack's own, of one text

// At most what a record takes in a frame.
std::size_t packed_bytes(const contract::RequestRecord& record) {
  const contract::Receipt& receipt = record.receipt;
  const contract::DeviceState& state = receipt.device_state;
  std::size_t bytes = kFixedBytes + record.name.size() + record.client.size() + record.code.size() +
                      record.what.size() + receipt.model.size() + receipt.device.size() +
                      receipt.dtype.size() + state.source.size();
  for (const std::string& name : receipt.evicted) bytes += name.size() + kTextBytes;
  for (const std::string& reason : state.throttled_by) bytes += reason.size() + kTextBytes;
  return bytes;
}

}  // namespace

void Records::add(contract::RequestRecord record) {
  const std::uint64_t number = record.request;
  const auto [added, is_new] = records_.emplace(number, std::move(record));
  if (!is_new) return;
  count(number, added->second);
  while (records_.size() > kMost || bytes_ > kMostBytes) drop_one();
}

void Records::count(std::uint64_t number, const contract::RequestRecord& record) {
  const std::size_t n_bytes = packed_bytes(record);
  User& user = users_[record.uid];
  user.numbers.insert(number);
  user.bytes += n_bytes;
  bytes_ += n_bytes;
}

void Records::count_again() {
  users_.clear();
  bytes_ = 0;
  for (const auto& [number, record] : records_) count(number, record);
}

void Records::drop_one() {
  // Of users who have as much, the one with the oldest record.
  const auto rank = [](const auto& entry) {
    return std::pair(entry.second.bytes, ~*entry.second.numbers.begin());
  };
  const auto user =
      std::max_element(users_.begin(), users_.end(),
                       [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  const auto oldest = records_.find(*user->second.numbers.begin());
  const std::size_t n_bytes = packed_bytes(oldest->second);
  bytes_ -= n_bytes;
  user->second.bytes -= n_bytes;
  user->second.numbers.erase(oldest->first);
  if (user->second.numbers.empty()) users_.erase(user);
  records_.erase(oldest);
}

contract::RequestList Records::page(std::uint64_t before, std::uint32_t limit,
                                    std::optional<uid_t> user) const {
  contract::RequestList list;
  std::size_t bytes = 0;
  auto it = before == 0 ? records_.end() : records_.lower_bound(before);
  while (it != records_.begin()) {
    const contract::RequestRecord& record = (--it)->second;
    if (user && record.uid != *user) continue;
    bytes += packed_bytes(record);
    list.more = list.requests.size() >= limit || bytes > kPageBytes;
    if (list.more) return list;
    list.requests.push_back(record);
  }
  return list;
}

void ErrorLog::add(std::optional<uid_t> user, contract::ErrorEntry error) {
  std::size_t of_user = 0;
  auto oldest = entries_.end();
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (it->user != user) continue;
    if (of_user++ == 0) oldest = it;
  }
  const auto last = std::find_if(entries_.rbegin(), entries_.rend(),
                                 [&](const Entry& entry) { return entry.user == user; });
  const bool repeats = last != entries_.rend() && last->error.code == error.code &&
                       last->error.what == error.what && last->error.client == error.client;
  if (repeats) {
    entries_.erase(std::next(last).base());
  } else if (of_user >= kOfOne) {
    entries_.erase(oldest);
  } else if (entries_.size() >= kMost) {
    entries_.pop_front();
  }
  entries_.push_back({user, std::move(error)});
}

std::vector<contract::ErrorEntry> ErrorLog::latest(std::optional<uid_t> user) const {
  constexpr std::size_t kTold = 16;
  std::vector<contract::ErrorEntry> latest;
  for (auto it = entries_.rbegin(); it != entries_.rend() && latest.size() < kTold; ++it)
    if (!user || !it->user || it->user == user) latest.push_back(it->error);
  return latest;
}

}  // namespace hearth::broker
