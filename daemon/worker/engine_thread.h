// The one thread that computes: everything on the device happens here, and only here.
//
// Makes the OnEngine token. Between tasks it advances every model that has sequences, one step each
// in turn, and sleeps when there is nothing to do; after a step it keeps the device's clocks up for
// a while. The destructor waits for the step at hand.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "models/model.h"
#include "shm/base/result.h"

namespace hearth {

class EngineThread {
 public:
  // What an idle device is given to do, so that the next request finds its clocks up.
  struct Ticking {
    std::function<Result<void>()> tick;                         // models::Engine::tick
    models::Clock::duration length = std::chrono::seconds(30);  // after the last step
    models::Clock::duration every = std::chrono::seconds(1);
  };

  // `on_device_lost` is called on the engine thread, once; nothing is advanced after it.
  EngineThread(std::function<void(const Error&)> on_device_lost, Ticking ticking);
  ~EngineThread();
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;

  // A model and its id, for those who watch this thread.
  struct NamedModel {
    std::string id;
    std::shared_ptr<models::Model> model;
  };

  // Any thread. `prompt` was prepared by this model.
  void submit(NamedModel model, std::shared_ptr<models::Job> job,
              std::unique_ptr<models::Prompt> prompt, std::shared_ptr<models::Listener> listener);

  using Call = std::function<Result<void>(models::OnEngine)>;

  // Any other thread. Makes `call` on the engine thread, between the steps of models, and waits for
  // it. Errors: its own, or what it throws; worker_lost when the engine ends first, or with the
  // device. `model`: the id of the model that is loaded or moved by it.
  Result<void> call(Call call, std::string model = {});

  // Any thread. Gives up `model` on the engine thread, where it is destroyed when nobody else holds
  // it, then calls `then` there.
  void drop(std::shared_ptr<models::Model> model, std::function<void()> then);

  using Task = std::function<void(models::OnEngine)>;

  // Any thread. Runs `task` between two steps; it must not throw.
  void run_soon(Task task) { post(std::move(task)); }

  // What it is doing. Written by the engine thread alone.
  models::Progress& progress() { return progress_; }

 private:
  void post(Task task);
  void run();
  bool wait_for_work(models::OnEngine on);
  Result<void> guarded(models::OnEngine on, const Call& call);
  void tick(models::OnEngine on);
  void run_tasks(models::OnEngine on);
  bool advance_all(models::OnEngine on);

  const std::function<void(const Error&)> on_device_lost_;
  const Ticking ticking_;
  models::Clock::time_point tick_until_;  // engine thread only
  models::Progress progress_;
  const models::Model* about_ = nullptr;  // whose id progress_ has; only compared
  std::vector<NamedModel> active_;        // with sequences; engine thread only
  std::mutex mutex_;                      // of tasks_, stopping_ and ended_
  std::condition_variable posted_;
  std::deque<Task> tasks_;
  bool stopping_ = false;
  bool ended_ = false;  // no task will be run any more
  bool lost_ = false;   // engine thread only
  std::thread thread_;
};

}  // namespace hearth
