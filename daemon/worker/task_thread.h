// A named thread that runs tasks in the order in which they were posted.
//
// The worker has one to prepare prompts, one to load models, one to look at offered files and one
// to copy results, so that none of these keeps the others, the engine or the link waiting. Tasks
// must not throw. The destructor waits for the task at hand and drops the rest.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

namespace hearth::worker {

class TaskThread {
 public:
  // `name`: at most 15 characters, as the kernel shows it.
  explicit TaskThread(const char* name);
  ~TaskThread();
  TaskThread(const TaskThread&) = delete;
  TaskThread& operator=(const TaskThread&) = delete;

  using Clock = std::chrono::steady_clock;

  // Any thread.
  void post(std::function<void()> task);
  // As post(), but not before `due`; tasks that are posted meanwhile come first.
  void post_at(Clock::time_point due, std::function<void()> task);

  // Waits for the task at hand; what waits, and what is posted later, never runs. Not from a task.
  void stop();

 private:
  void run();
  bool wait_for_task(std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;  // of all below
  std::condition_variable posted_;
  std::deque<std::function<void()>> tasks_;
  std::multimap<Clock::time_point, std::function<void()>> later_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace hearth::worker
