// The engine process: takes frames from the broker, gives each to the thread whose work it is.
//
// serve() runs the link thread. Prompts are prepared, files looked at and models loaded on threads
// of their own; everything on the device happens on the engine thread. Each request of the broker
// ends with exactly one reply or error under its id.
//
// Between frames the link thread sends beats: what the others are doing.
//
// serve() returns when the broker is gone or says stop. The program then ends by _Exit, because the
// engine may be inside a step that never returns; only tests destroy a Worker, and wait for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/worker/beats.h"
#include "daemon/worker/cache_reporter.h"
#include "daemon/worker/device_watch.h"
#include "daemon/worker/engine_thread.h"
#include "daemon/worker/link.h"
#include "daemon/worker/model_table.h"
#include "daemon/worker/open_job.h"
#include "daemon/worker/pinned_memory.h"
#include "daemon/worker/results_thread.h"
#include "daemon/worker/task_thread.h"
#include "models/model.h"
#include "shm/arena.h"

namespace hearth::worker {

struct Settings {
  models::Engine engine;
  std::uint32_t slots = 8;  // generate and encode requests that run at once
  // That models may take together, as the broker counts; 0: all of the device's. Caches are sized
  // by it.
  std::uint64_t memory_bytes = 0;
  ResultLimits results;
  std::chrono::seconds keep_clocks{30};  // of an idle device, after its last step
  // Absent: pinned_arena_budget() of this machine's memory.
  std::optional<std::uint64_t> pinned_bytes;
  // Called on the engine or load thread when the device will not work again; the process must end.
  std::function<void()> on_device_lost = [] {};
};

class Worker {
 public:
  Worker(Fd link, Settings settings);
  ~Worker();

  void serve();

 private:
  using Fds = std::vector<Fd>;

  bool dispatch(Frame frame);
  template <class Message>
  using Handler = void (Worker::*)(std::uint32_t id, Message, Fds);
  template <class Message, Handler<Message> kHandler>
  void handle(Frame& frame);

  void attach_arena(std::uint32_t id, contract::AttachArena message, Fds fds);
  void detach_arena(std::uint32_t id, contract::DetachArena message, Fds fds);
  void attach_model(std::uint32_t id, contract::AttachModel message, Fds fds);
  void detach_model(std::uint32_t id, contract::DetachModel message, Fds fds);
  void weights_cache(std::uint32_t id, contract::WeightsCache message, Fds fds);
  void load_model(std::uint32_t id, contract::LoadModel message, Fds fds);
  void unload_model(std::uint32_t id, contract::UnloadModel message, Fds fds);
  void rest_model(std::uint32_t id, contract::RestModel message, Fds fds);
  void forget_image(std::uint32_t id, contract::ForgetImage message, Fds fds);
  void assign_job(std::uint32_t id, contract::AssignJob message, Fds fds);
  void generate(std::uint32_t id, contract::Generate message, Fds fds);
  void encode(std::uint32_t id, contract::Encode message, Fds fds);
  void count_tokens(std::uint32_t id, contract::CountTokens message, Fds fds);
  void release_slots(std::uint32_t id, contract::ReleaseSlots message, Fds fds);
  void forget_client(std::uint32_t id, contract::ForgetClient message, Fds fds);
  void cancel(std::uint32_t id, contract::Cancel message, Fds fds);

  void examine(std::uint32_t id, const contract::AttachModel& message, Fds& fds);
  void detect(std::uint32_t id, const std::string& model_id);
  Result<contract::TokensCounted> count(const contract::CountTokens& message);
  Result<std::shared_ptr<const models::TokenCounter>> counter_of(const std::string& model_id);
  // `file`: of its rounded weights, or null.
  void load(const models::Job& job, const ModelSource& source, const std::string& model_id,
            models::WeightsFile* file);
  Result<contract::ModelLoaded> load_now(const models::Job& job, const ModelSource& source,
                                         const std::string& model_id, models::WeightsFile* file);
  // `waiting`, the calling thread's, is idle meanwhile: the engine's thread is watched for it.
  Result<void> call_engine(models::Progress& waiting, const std::string& model_id,
                           EngineThread::Call call);
  Result<contract::ModelLoaded> restore(const std::string& model_id, const SharedModel& model);
  void rest(std::uint32_t id, const std::string& model_id, SharedModel model);
  Result<void> rest_now(const std::string& model_id, const SharedModel& model);
  template <class Call>
  auto guarded(Call call) -> decltype(call());
  void begin_job(std::uint32_t id, JobRequest request);
  Result<void> start_job(std::uint32_t id, JobRequest request, SharedModel model);
  void prepare(const std::shared_ptr<OpenJob>& job, SharedModel model);
  void end_job(std::uint32_t id, const std::string& model_id);
  void report_caches();
  contract::WorkerReady introduction() const;
  void measure_bandwidth();
  void device_lost(const Error& error);
  void beat();
  void trim();

  const Settings settings_;
  Link link_;
  PinnedMemory pinned_;
  ArenaTable arenas_;                                     // link thread only
  std::unordered_map<std::uint32_t, JobOwner> assigned_;  // by request; link thread only
  ModelTable models_;
  // Of weights_cache, until its load_model; link thread only.
  std::pair<std::string, std::shared_ptr<models::WeightsFile>> weights_file_;
  std::mutex jobs_mutex_;                                                  // of the two below
  std::unordered_map<std::uint32_t, std::shared_ptr<OpenJob>> jobs_;       // by request
  std::unordered_map<std::uint32_t, std::shared_ptr<models::Job>> loads_;  // load_model, by request
  DeviceWatch watch_;
  CacheReporter reporter_;  // these two are stopped first, for they use all the others
  ResultsThread results_;
  models::Progress offering_, loading_, imaging_, preparing_;  // one a thread below
  EngineThread engine_;  // the threads end before what they use
  TaskThread offers_;
  TaskThread loader_;
  TaskThread images_;  // of models that rest, made beside loads
  TaskThread preparer_;
  Beats beats_;  // link thread only
};

}  // namespace hearth::worker
