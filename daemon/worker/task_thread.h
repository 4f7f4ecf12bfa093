// A named thread that runs tasks in the order in which they were posted.
//
// The worker has one to prepare prompts, one to load models and one to look at offered files, so
// that none of these keeps the others, the engine or the link waiting. Tasks must not throw. The
// destructor waits for the task at hand and drops the rest.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
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

  // Any thread.
  void post(std::function<void()> task);

 private:
  void run();

  std::mutex mutex_;  // of tasks_ and stopping_
  std::condition_variable posted_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace hearth::worker
