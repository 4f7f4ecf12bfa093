#include "daemon/worker/device_watch.h"

#include <algorithm>
#include <utility>

namespace hearth::worker {
namespace {

constexpr int kPauses = 50;  // as long as a reading, before the next

}  // namespace

DeviceWatch::DeviceWatch(Read read, std::chrono::milliseconds interval,
                         std::function<void(const Error&)> on_lost)
    : read_(std::move(read)), interval_(interval), on_lost_(std::move(on_lost)), thread_("device") {
  latest_.source = read_ ? "the device was not read yet" : "nobody reads this device";
  if (!read_) return;
  waiting_ = true;
  thread_.post([this] { read_now(); });
}

void DeviceWatch::job_began() {
  const std::lock_guard lock(mutex_);
  ++jobs_;
  if (waiting_ || !read_) return;
  waiting_ = true;
  thread_.post_at(std::max(next_, TaskThread::Clock::now()), [this] { read_now(); });
}

void DeviceWatch::job_ended() {
  const std::lock_guard lock(mutex_);
  --jobs_;
}

void DeviceWatch::read_now() {
  const auto start = TaskThread::Clock::now();
  auto state = read_();
  if (!state) return on_lost_(state.error());
  const auto end = TaskThread::Clock::now();
  const std::lock_guard lock(mutex_);
  latest_ = *std::move(state);
  next_ = std::max<TaskThread::Clock::time_point>(start + interval_, end + kPauses * (end - start));
  waiting_ = jobs_ > 0;
  if (waiting_) thread_.post_at(next_, [this] { read_now(); });
}

contract::DeviceState DeviceWatch::latest(std::uint64_t held_bytes) const {
  const std::lock_guard lock(mutex_);
  contract::DeviceState state = latest_;
  state.held_bytes = held_bytes;
  return state;
}

void DeviceWatch::complete(contract::Receipt& receipt, std::uint64_t held_bytes) const {
  receipt.device_state = latest(held_bytes);
  const auto bandwidth = static_cast<double>(bandwidth_.load());
  if (bandwidth > 0.0)
    receipt.bandwidth_share =
        static_cast<double>(receipt.bytes_per_token) * receipt.tokens_per_second / bandwidth;
}

}  // namespace hearth::worker
