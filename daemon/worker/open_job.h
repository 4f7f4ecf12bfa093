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
#include <variant>
#include <vector>

#include "daemon/worker/link.h"
#include "daemon/worker/results_thread.h"
#include "models/model.h"
#include "shm/arena.h"

namespace hearth::worker {

using JobRequest = std::variant<contract::Generate, contract::Encode>;

const std::string& model_of(const JobRequest& request);
const std::vector<contract::ChatMessage>& messages_of(const JobRequest& request);
// Errors: unsupported, when the model lacks the capability that the request needs.
Result<void> check_capability(models::Model& model, const JobRequest& request);

// Whose a job is.
struct JobOwner {
  std::uint32_t user = 0;    // whose cached prompts and pictures it may use
  std::uint64_t client = 0;  // whose arenas its results go to
};

// Where a job's frames go.
struct JobOutlet {
  Link& link;
  ResultsThread& results;
  std::function<void(contract::Receipt&)> complete;  // adds what the device does
  std::function<void()> trim;  // engine thread: gives back what is kept for later
};

struct JobInput {
  JobOwner owner;
  JobRequest request;
  RequestTensors tensors;
  bool pinned = false;  // all tensors lie in pinned memory, if there are any
};

class OpenJob : public models::Listener, public std::enable_shared_from_this<OpenJob> {
 public:
  // `on_end` is called once, after the terminal frame, on the thread that ended the job.
  OpenJob(std::uint32_t id, JobInput input, JobOutlet outlet, std::function<void()> on_end);

  const std::shared_ptr<models::Job>& job() const { return job_; }
  const std::string& model() const { return model_of(request_); }

  // Prepare thread: false when the job was cancelled while it waited.
  bool start();
  // Prepare thread, after start(): prepare() of the capability, then inputs_done. Never throws.
  Result<std::unique_ptr<models::Prompt>> prepare(models::Model& model);

  // Link thread. A job that still waits ends here; any other when its thread looks.
  void cancel();

  void token(contract::Token piece) override;
  void progress(std::string_view stage, std::uint64_t done, std::uint64_t total) override;
  void done(contract::Generated reply) override;
  void encoded(models::Encoding result) override;
  void failed(Error error) override;

 private:
  // kEnded: the terminal frame is sent, or is the results thread's to send.
  enum class State { kWaiting, kRunning, kEnded };

  void end(const Error& error, bool wants_room = false);

  const std::shared_ptr<models::Job> job_;
  const std::uint64_t client_;
  const JobRequest request_;
  RequestTensors tensors_;  // until prepare() has read them
  const std::size_t n_tensors_;
  const bool pinned_;
  const JobOutlet outlet_;
  const std::function<void()> on_end_;
  std::atomic<State> state_ = State::kWaiting;
};

}  // namespace hearth::worker
