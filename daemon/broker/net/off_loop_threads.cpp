#include "daemon/broker/net/off_loop_threads.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <numeric>
#include <thread>

namespace hearth::broker {
namespace {

constexpr std::array kLanes = {OffLoop::Lane::kMemory, OffLoop::Lane::kClientFiles,
                               OffLoop::Lane::kOwnFiles};

}  // namespace

struct OffLoopThreads::Shared {
  struct Task {
    Ticket ticket = 0;  // 0: nobody waits for the end
    Work work;
  };
  struct Queue {
    std::deque<Task> tasks;
    bool is_busy = false;
    Ticket running = 0;       // of what keeps it busy
    unsigned generation = 0;  // threads of earlier ones are stuck
    int stuck = 0;            // and so many of them still are

    bool take(Ticket ticket, Task& into) {
      const auto found = std::find_if(tasks.begin(), tasks.end(),
                                      [&](const Task& task) { return task.ticket == ticket; });
      if (found == tasks.end()) return false;
      into = std::move(*found);
      tasks.erase(found);
      return true;
    }
  };

  explicit Shared(asio::io_context& loop) : loop(loop) {}

  Queue& queue(Lane lane) { return queues[static_cast<std::size_t>(lane)]; }
  void push(Lane lane, Task task) {
    const std::lock_guard lock(mutex);
    queue(lane).tasks.push_back(std::move(task));
    wake.notify_all();
  }
  int stuck() const {
    return std::accumulate(queues.begin(), queues.end(), 0,
                           [](int sum, const Queue& queue) { return sum + queue.stuck; });
  }

  asio::io_context& loop;
  std::mutex mutex;
  std::condition_variable wake;
  std::array<Queue, kLanes.size()> queues;
  OffLoopThreads* owner = nullptr;  // null: ended
  int threads = 0;
};

OffLoopThreads::OffLoopThreads(asio::io_context& loop) : shared_(std::make_shared<Shared>(loop)) {
  const std::lock_guard lock(shared_->mutex);
  shared_->owner = this;
  for (const Lane lane : kLanes) start_thread(lane, 0);
}

OffLoopThreads::~OffLoopThreads() {
  std::unique_lock lock(shared_->mutex);
  shared_->owner = nullptr;
  shared_->wake.notify_all();
  shared_->wake.wait_for(lock, std::chrono::seconds(1),
                         [&] { return shared_->threads <= shared_->stuck(); });
}

void OffLoopThreads::start_thread(Lane lane, unsigned generation) {
  ++shared_->threads;
  std::thread(serve, shared_, lane, generation).detach();
}

void OffLoopThreads::serve(std::shared_ptr<Shared> shared, Lane lane, unsigned generation) {
  Shared::Queue& queue = shared->queue(lane);
  std::unique_lock lock(shared->mutex);
  const auto is_over = [&] { return shared->owner == nullptr || queue.generation != generation; };
  for (;;) {
    shared->wake.wait(lock, [&] { return is_over() || !queue.tasks.empty(); });
    if (is_over()) break;
    Shared::Task task = std::move(queue.tasks.front());
    queue.tasks.pop_front();
    queue.is_busy = true;
    queue.running = task.ticket;
    lock.unlock();
    Continuation continuation = task.work();
    task.work = nullptr;  // may close descriptors: not under the lock
    lock.lock();
    if (is_over()) {
      lock.unlock();
      continuation = nullptr;
      lock.lock();
      break;
    }
    queue.is_busy = false;
    queue.running = 0;
    if (task.ticket == 0) continue;
    asio::post(shared->loop,
               [owner = shared->owner, ticket = task.ticket,
                continuation = std::move(continuation)] { owner->finish(ticket, continuation); });
  }
  if (queue.generation != generation) --queue.stuck;
  --shared->threads;
  shared->wake.notify_all();
}

OffLoop::Ticket OffLoopThreads::run(Lane lane, Work work) {
  {
    const std::lock_guard lock(shared_->mutex);
    if (shared_->queue(lane).stuck >= kMaxStuck) return 0;
  }
  const Ticket ticket = ++last_ticket_;
  expected_.insert(ticket);
  shared_->push(lane, {ticket, std::move(work)});
  return ticket;
}

void OffLoopThreads::finish(Ticket ticket, const Continuation& continuation) {
  if (expected_.erase(ticket) > 0 && continuation) continuation();
}

void OffLoopThreads::abandon(Ticket ticket) {
  if (expected_.erase(ticket) == 0) return;
  Shared::Task dropped;  // may close descriptors, which takes the lock
  const std::lock_guard lock(shared_->mutex);
  for (const Lane lane : kLanes) {
    Shared::Queue& queue = shared_->queue(lane);
    // What waits behind something stuck, a close perhaps, was abandoned for its sake.
    if (queue.running != ticket && !queue.take(ticket, dropped)) continue;
    if (!queue.is_busy || queue.stuck >= kMaxStuck) continue;
    ++queue.stuck;
    queue.is_busy = false;
    queue.running = 0;
    start_thread(lane, ++queue.generation);
  }
}

bool OffLoopThreads::is_idle() const {
  const std::lock_guard lock(shared_->mutex);
  const auto& queues = shared_->queues;
  return expected_.empty() && shared_->stuck() == 0 &&
         std::all_of(queues.begin(), queues.end(), [](const Shared::Queue& queue) {
           return queue.tasks.empty() && !queue.is_busy;
         });
}

int OffLoopThreads::stuck() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->stuck();
}

SharedFd OffLoopThreads::adopt(Fd fd) {
  const auto close_elsewhere = [shared = shared_](const Fd* owned) {
    const std::shared_ptr<const Fd> last(owned);  // closes when the task is destroyed
    shared->push(Lane::kClientFiles, {0, [last] { return Continuation(); }});
  };
  return SharedFd(new Fd(std::move(fd)), close_elsewhere);
}

}  // namespace hearth::broker
