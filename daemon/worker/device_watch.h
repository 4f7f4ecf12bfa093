// Knows what the device is doing, without anybody's having to wait for it, and completes receipts.
//
// While requests are open the device is read again and again on a thread of its own: at most every
// `interval`, and rarely enough for the reading to take no more than a fiftieth of that thread. A
// request's end takes the last reading, which is at most so old. Nothing is read while nothing
// runs.
//
// Any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>

#include "daemon/worker/task_thread.h"
#include "shm/base/result.h"
#include "shm/contract/messages.h"

namespace hearth::worker {

class DeviceWatch {
 public:
  using Read = std::function<Result<contract::DeviceState>()>;

  // `read` is called on the thread of the watch only, first at once; may be empty. With its first
  // error `on_lost` is called there, and nothing is read any more.
  DeviceWatch(
      Read read, std::chrono::milliseconds interval,
      std::function<void(const Error&)> on_lost = [](const Error&) {});

  // Between a request's begin and its end there are readings.
  void job_began();
  void job_ended();

  // Of the device's memory; 0: unknown. Until it is set no share of it is known.
  void set_bandwidth(std::uint64_t bytes_per_s) { bandwidth_ = bytes_per_s; }

  // The last reading. `held_bytes`: what models hold of its memory.
  contract::DeviceState latest(std::uint64_t held_bytes) const;
  // The device's part of a receipt: its state, and the share of its memory's bandwidth that the
  // answer used. `held_bytes`: as above.
  void complete(contract::Receipt& receipt, std::uint64_t held_bytes) const;

 private:
  void read_now();

  const Read read_;
  const std::chrono::milliseconds interval_;
  const std::function<void(const Error&)> on_lost_;
  std::atomic<std::uint64_t> bandwidth_ = 0;
  mutable std::mutex mutex_;            // of the three below
  contract::DeviceState latest_;        // held_bytes 0
  std::uint32_t jobs_ = 0;              // open
  bool waiting_ = false;                // a reading is due
  TaskThread::Clock::time_point next_;  // not before; on thread_ and under mutex_
  TaskThread thread_;
};

}  // namespace hearth::worker
