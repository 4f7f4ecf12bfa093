#include "daemon/worker/engine_thread.h"

#include <algorithm>
#include <future>
#include <utility>

#include <pthread.h>

#include "shm/base/log.h"

namespace hearth {

EngineThread::EngineThread(std::function<void(const Error&)> on_device_lost, Ticking ticking)
    : on_device_lost_(std::move(on_device_lost)),
      ticking_(std::move(ticking)),
      thread_([this] { run(); }) {
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

void EngineThread::submit(NamedModel named, std::shared_ptr<models::Job> job,
                          std::unique_ptr<models::Prompt> prompt,
                          std::shared_ptr<models::Listener> listener) {
  // A std::function must be copyable and a prompt is not: it travels in a holder.
  auto held = std::make_shared<std::unique_ptr<models::Prompt>>(std::move(prompt));
  post([this, named = std::move(named), job = std::move(job), held = std::move(held),
        listener = std::move(listener)](models::OnEngine on) {
    {
      const models::Working working(progress_, models::Phase::kPreprocess, named.id);
      named.model->submit(on, job, std::move(*held), listener);
    }
    const auto is_it = [&](const NamedModel& each) { return each.model == named.model; };
    if (std::none_of(active_.begin(), active_.end(), is_it)) active_.push_back(named);
  });
}

Result<void> EngineThread::call(Call call, std::string model) {
  // A task that is never run is destroyed, and its promise with it: then get() throws.
  auto done = std::make_shared<std::promise<Result<void>>>();
  std::future<Result<void>> outcome = done->get_future();
  post([this, call = std::move(call), done = std::move(done),
        model = std::move(model)](models::OnEngine on) mutable {
    const models::Working working(progress_, models::Phase::kLoad, model);
    Result<void> made = guarded(on, call);
    call = nullptr;  // what it holds ends here, before anybody hears of it
    done->set_value(std::move(made));
  });
  try {
    return outcome.get();
  } catch (const std::future_error&) {
    return fail(Code::kWorkerLost, "The engine ended before the model was ready.");
  }
}

Result<void> EngineThread::guarded(models::OnEngine on, const Call& call) {
  try {
    return call(on);
  } catch (...) {
    models::Fault fault = models::describe(std::current_exception());
    if (fault.device_lost && !std::exchange(lost_, true)) on_device_lost_(fault.error);
    return std::move(fault.error);
  }
}

void EngineThread::drop(std::shared_ptr<models::Model> model, std::function<void()> then) {
  post([this, model = std::move(model), then = std::move(then)](models::OnEngine) mutable {
    const models::Working working(progress_, models::Phase::kLoad, {});
    std::erase_if(active_, [&](const NamedModel& each) { return each.model == model; });
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
  models::this_thread_progress = &progress_;
  while (wait_for_work(on)) {
    run_tasks(on);
    if (lost_ || !advance_all(on)) break;
  }
  // Who waits for a task that will not be run shall know.
  const std::lock_guard lock(mutex_);
  ended_ = true;
  tasks_.clear();
}

// False: the thread shall end.
bool EngineThread::wait_for_work(models::OnEngine on) {
  std::unique_lock lock(mutex_);
  const auto has_work = [&] { return stopping_ || !tasks_.empty() || !active_.empty(); };
  while (models::Clock::now() < tick_until_ && !has_work()) {
    if (posted_.wait_for(lock, ticking_.every, has_work)) break;
    lock.unlock();
    tick(on);
    if (lost_) return false;
    lock.lock();
  }
  posted_.wait(lock, has_work);
  return !stopping_;
}

// A device that refuses is not asked again before its next step, which will say what is wrong. One
// that never returns from it would keep everybody waiting: it counts as a step without a token.
void EngineThread::tick(models::OnEngine on) {
  const models::Working working(progress_, models::Phase::kDecode, {});
  const Result<void> ticked = guarded(on, [this](models::OnEngine) { return ticking_.tick(); });
  if (ticked) return;
  log::warning("the device's clocks are not kept up: {}", ticked.error().what);
  tick_until_ = {};
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
  if (ticking_.tick && !active_.empty()) tick_until_ = models::Clock::now() + ticking_.length;
  for (std::size_t index = 0; index < active_.size();) {
    if (std::exchange(about_, active_[index].model.get()) != active_[index].model.get() ||
        progress_.phase() == models::Phase::kIdle)
      progress_.enter(models::Phase::kPrefill, active_[index].id);
    const Result<bool> remaining = active_[index].model->advance(on);
    if (!remaining) {
      on_device_lost_(remaining.error());
      return false;
    }
    if (*remaining)
      ++index;
    else
      active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(index));
  }
  if (active_.empty() && progress_.phase() != models::Phase::kIdle)
    progress_.enter(models::Phase::kIdle, {});
  return true;
}

}  // namespace hearth
