#include "daemon/worker/task_thread.h"

#include <utility>

#include <pthread.h>

namespace hearth::worker {

TaskThread::TaskThread(const char* name) : thread_([this] { run(); }) {
  ::pthread_setname_np(thread_.native_handle(), name);
}

TaskThread::~TaskThread() {
  stop();
}

void TaskThread::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  posted_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void TaskThread::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  posted_.notify_one();
}

void TaskThread::post_at(Clock::time_point due, std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    later_.emplace(due, std::move(task));
  }
  posted_.notify_one();
}

void TaskThread::run() {
  std::unique_lock lock(mutex_);
  while (wait_for_task(lock)) {
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;  // what it holds ends here, not under the lock
    lock.lock();
  }
}

// False: the thread shall end.
bool TaskThread::wait_for_task(std::unique_lock<std::mutex>& lock) {
  while (!stopping_ && tasks_.empty()) {
    if (later_.empty()) {
      posted_.wait(lock);
    } else if (const auto due = later_.begin()->first; due > Clock::now()) {
      posted_.wait_until(lock, due);
    } else {
      tasks_.push_back(std::move(later_.begin()->second));
      later_.erase(later_.begin());
    }
  }
  return !stopping_;
}

}  // namespace hearth::worker
