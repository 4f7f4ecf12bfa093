// Results on a thread of their own: what is posted here happens there, in this order.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "daemon/worker/results.h"
#include "daemon/worker/task_thread.h"

namespace hearth::worker {

class ResultsThread {
 public:
  ResultsThread(Link& link, PinnedMemory& pinned, const ResultLimits& limits,
                std::function<Results::Clock::time_point()> now = Results::Clock::now);

  // Any thread; as the functions of Results, but they return at once.
  void assign(std::uint64_t client, std::uint64_t out_bytes);
  void deliver(Delivery delivery);
  void cancel(std::uint32_t job);
  void release(std::uint32_t arena, std::vector<std::uint64_t> offsets);
  void forget(std::uint64_t client);

  // Waits for what is being copied; nothing is delivered after it. Not from an `end`.
  void stop() { thread_.stop(); }

 private:
  void post(std::function<void()> task);
  void check_later();

  const std::chrono::milliseconds check_interval_;
  Results results_;  // these two on thread_ only
  bool check_posted_ = false;
  TaskThread thread_;
};

}  // namespace hearth::worker
