#include "daemon/worker/engine_thread.h"

#include <algorithm>
#include <future>
#include <utility>

#include <pthread.h>

namespace hearth {

EngineThread::EngineThread(std::function<void(const Error&)> on_device_lost)
    : on_device_lost_(std::move(on_device_lost)), thread_([this] { run(); }) {
  ::pthread_setname_np(thread_.native_handle(), "engine");
}

EngineThread::~EngineThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  posted_.notify_one();
  thread_.join();
}

void EngineThread::submit(std::shared_ptr<models::Model> model, std::shared_ptr<models::Job> job,
                          std::unique_ptr<models::Prompt> prompt,
                          std::shared_ptr<models::Listener> listener) {
  // A std::function must be copyable and a prompt is not: it travels in a holder.
  auto held = std::make_shared<std::unique_ptr<models::Prompt>>(std::move(prompt));
  post([this, model = std::move(model), job = std::move(job), held = std::move(held),
        listener = std::move(listener)](models::OnEngine on) {
    model->submit(on, job, std::move(*held), listener);
    if (std::find(active_.begin(), active_.end(), model) == active_.end()) active_.push_back(model);
  });
}

Result<void> EngineThread::warm_up(std::shared_ptr<models::Model> model) {
  // A task that is never run is destroyed, and its promise with it: then get() throws.
  auto done = std::make_shared<std::promise<Result<void>>>();
  std::future<Result<void>> warmed = done->get_future();
  post([this, model = std::move(model), done = std::move(done)](models::OnEngine on) {
    done->set_value(warm_up_guarded(on, *model));
  });
  try {
    return warmed.get();
  } catch (const std::future_error&) {
    return fail(Code::kWorkerLost, "The engine ended before the model was ready.");
  }
}

Result<void> EngineThread::warm_up_guarded(models::OnEngine on, models::Model& model) {
  try {
    return model.warm_up(on);
  } catch (...) {
    models::Fault fault = models::describe(std::current_exception());
    lost_ = fault.device_lost;
    if (lost_) on_device_lost_(fault.error);
    return std::move(fault.error);
  }
}

void EngineThread::drop(std::shared_ptr<models::Model> model, std::function<void()> then) {
  post([this, model = std::move(model), then = std::move(then)](models::OnEngine) mutable {
    std::erase(active_, model);
    model.reset();
    then();
  });
}

void EngineThread::post(Task task) {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    tasks_.push_back(std::move(task));
  }
  posted_.notify_one();
}

void EngineThread::run() {
  const models::OnEngine on;
  while (wait_for_work()) {
    run_tasks(on);
    if (lost_ || !advance_all(on)) break;
  }
  // Who waits for a task that will not be run shall know.
  const std::lock_guard lock(mutex_);
  ended_ = true;
  tasks_.clear();
}

// False: the thread shall end.
bool EngineThread::wait_for_work() {
  std::unique_lock lock(mutex_);
  posted_.wait(lock, [&] { return stopping_ || !tasks_.empty() || !active_.empty(); });
  return !stopping_;
}

void EngineThread::run_tasks(models::OnEngine on) {
  std::deque<Task> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  for (Task& task : tasks) task(on);
}

// False: the device is lost.
bool EngineThread::advance_all(models::OnEngine on) {
  for (std::size_t index = 0; index < active_.size();) {
    const Result<bool> remaining = active_[index]->advance(on);
    if (!remaining) {
      on_device_lost_(remaining.error());
      return false;
    }
    if (*remaining)
      ++index;
    else
      active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(index));
  }
  return true;
}

}  // namespace hearth
