#include "daemon/worker/cache_reporter.h"

#include <algorithm>
#include <utility>

namespace hearth::worker {

CacheReporter::CacheReporter(std::chrono::milliseconds interval, std::function<void()> report)
    : interval_(interval), report_(std::move(report)), thread_("reports") {}

void CacheReporter::job_ended() {
  const std::lock_guard lock(mutex_);
  if (waiting_) return;
  waiting_ = true;
  thread_.post_at(std::max(next_, TaskThread::Clock::now()), [this] { report_now(); });
}

void CacheReporter::report_now() {
  {
    const std::lock_guard lock(mutex_);
    waiting_ = false;
    next_ = TaskThread::Clock::now() + interval_;
  }
  report_();
}

}  // namespace hearth::worker
