// One generate or encode request inside the worker: its listener, its state, its one terminal
// frame.
//
// Made on the link thread, prepared on the prepare thread, run on the engine thread. Whoever ends
// it first sends the terminal frame; everything after that is silence.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/worker/link.h"
#include "models/model.h"
#include "shm/arena.h"

namespace hearth::worker {

class OpenJob : public models::Listener {
 public:
  // `on_end` is called once, after the terminal frame, on the thread that ended the job.
  OpenJob(std::uint32_t id, contract::Generate request, RequestTensors tensors, Link& link,
          std::function<void()> on_end);

  const std::shared_ptr<models::Job>& job() const { return job_; }

  // Prepare thread: false when the job was cancelled while it waited.
  bool start();
  // Prepare thread, after start(): Generates::prepare on `model`, then inputs_done. Never throws.
  Result<std::unique_ptr<models::Prompt>> prepare(const models::Generates& model);

  // Link thread. A job that still waits ends here; any other when its thread looks.
  void cancel();

  void token(std::string text, std::span<const std::int32_t> ids) override;
  void progress(std::string_view stage, std::uint64_t done, std::uint64_t total) override;
  void done(contract::Generated reply) override;
  void encoded(models::Encoding result) override;
  void failed(Error error) override;

 private:
  enum class State { kWaiting, kRunning, kEnded };

  const std::shared_ptr<models::Job> job_;
  const contract::Generate request_;
  RequestTensors tensors_;  // until prepare() has read them
  Link& link_;
  const std::function<void()> on_end_;
  std::atomic<State> state_ = State::kWaiting;
};

}  // namespace hearth::worker
