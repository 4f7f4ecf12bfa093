#include "daemon/broker/recent.h"

namespace hearth::broker {

void Recent::begin(const RequestKey& key, Running running) {
  running_[key] = running;
}

const Recent::Running* Recent::find_running(const RequestKey& key) const {
  const auto found = running_.find(key);
  return found == running_.end() ? nullptr : &found->second;
}

void Recent::end(const RequestKey& key, JobId job) {
  const auto found = running_.find(key);
  if (found != running_.end() && found->second.job == job) running_.erase(found);
}

void Recent::keep(const RequestKey& key, Answer answer, TimePoint now) {
  if (const auto earlier = numbers_.find(key); earlier != numbers_.end()) drop(earlier->second);
  Kept kept{key, std::move(answer), now + rules_.kept};
  const std::size_t n_bytes = kept.bytes();
  if (n_bytes > rules_.user_bytes) return;
  const std::uint64_t number = ++last_number_;
  numbers_[key] = number;
  User& user = users_[key.user];
  user.kept.insert(number);
  user.bytes += n_bytes;
  bytes_ += n_bytes;
  kept_.emplace(number, std::move(kept));
  // The new one is the last of both, and alone within the bounds.
  while (user.kept.size() > rules_.user_answers || user.bytes > rules_.user_bytes)
    drop(*user.kept.begin());
  while (bytes_ > rules_.all_bytes && kept_.size() > 1) drop(kept_.begin()->first);
}

const Recent::Answer* Recent::find_answer(const RequestKey& key, TimePoint now) {
  expire(now);
  const auto number = numbers_.find(key);
  return number == numbers_.end() ? nullptr : &kept_.at(number->second).answer;
}

std::optional<TimePoint> Recent::expire(TimePoint now) {
  while (!kept_.empty() && kept_.begin()->second.until <= now) drop(kept_.begin()->first);
  if (kept_.empty()) return std::nullopt;
  return kept_.begin()->second.until;
}

void Recent::drop(std::uint64_t number) {
  const auto node = kept_.extract(number);
  const Kept& kept = node.mapped();
  const auto user = users_.find(kept.key.user);
  user->second.kept.erase(number);
  user->second.bytes -= kept.bytes();
  bytes_ -= kept.bytes();
  if (user->second.kept.empty()) users_.erase(user);
  numbers_.erase(kept.key);
}

}  // namespace hearth::broker
