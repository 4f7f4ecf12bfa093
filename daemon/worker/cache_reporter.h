// When to tell the broker of the caches: soon after a job's end, at most once in an interval, and
// never without need. The last end is always followed by a report.
//
// Any thread.
#pragma once

#include <chrono>
#include <functional>
#include <mutex>

#include "daemon/worker/task_thread.h"

namespace hearth::worker {

class CacheReporter {
 public:
  // `report` runs on a thread of its own.
  CacheReporter(std::chrono::milliseconds interval, std::function<void()> report);

  void job_ended();
  // Waits for the report at hand; none comes after it. Not from a report.
  void stop() { thread_.stop(); }

 private:
  void report_now();

  const std::chrono::milliseconds interval_;
  const std::function<void()> report_;
  std::mutex mutex_;  // of the two below
  bool waiting_ = false;
  TaskThread::Clock::time_point next_;  // not before
  TaskThread thread_;
};

}  // namespace hearth::worker
