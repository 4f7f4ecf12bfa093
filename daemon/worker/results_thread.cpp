#include "daemon/worker/results_thread.h"

#include <utility>

namespace hearth::worker {

ResultsThread::ResultsThread(Link& link, PinnedMemory& pinned, const ResultLimits& limits,
                             std::function<Results::Clock::time_point()> now)
    : check_interval_(limits.check_interval),
      results_(link, pinned, limits, std::move(now)),
      thread_("results") {}

void ResultsThread::assign(std::uint64_t client, std::uint64_t out_bytes) {
  post([this, client, out_bytes] { results_.assign(client, out_bytes); });
}

void ResultsThread::deliver(Delivery delivery) {
  post([this, delivery = std::move(delivery)]() mutable { results_.deliver(std::move(delivery)); });
}

void ResultsThread::cancel(std::uint32_t job) {
  post([this, job] { results_.cancel(job); });
}

void ResultsThread::release(std::uint32_t arena, std::vector<std::uint64_t> offsets) {
  post([this, arena, offsets = std::move(offsets)] { results_.release(arena, offsets); });
}

void ResultsThread::forget(std::uint64_t client) {
  post([this, client] { results_.forget(client); });
}

void ResultsThread::post(std::function<void()> task) {
  thread_.post([this, task = std::move(task)] {
    task();
    check_later();
  });
}

// While there is anything that grows old; an idle worker is not woken.
void ResultsThread::check_later() {
  if (check_posted_ || !results_.ages()) return;
  check_posted_ = true;
  thread_.post_at(TaskThread::Clock::now() + check_interval_, [this] {
    check_posted_ = false;
    results_.check();
    check_later();
  });
}

}  // namespace hearth::worker
