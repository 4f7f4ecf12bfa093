// What the worker sends: it is ready, how a job goes on, how a job or a call about a model ended.
#include <fmt/format.h>

#include "daemon/broker/answers.h"
#include "daemon/broker/counts.h"
#include "daemon/broker/engine_end.h"
#include "daemon/broker/handlers/handlers.h"
#include "daemon/broker/model_calls.h"
#include "daemon/broker/model_waiters.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/residency.h"
#include "daemon/broker/results.h"
#include "daemon/broker/schedule.h"
#include "daemon/broker/weights_files.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

Error to_error(const contract::Error& message) {
  return fail(parse_code(message.code).value_or(Code::kInternal), message.what, message.hint);
}

// A worker that is at work says once what it has measured of its device since; nothing else may
// have changed.
bool device_measured(Core& core, const contract::WorkerReady& again) {
  contract::WorkerReady before = again;
  before.device.bandwidth_bytes_per_s = 0;
  if (again == before || core.engine != before) return false;
  core.engine = again;
  return true;
}

bool worker_ready(Core& core, const InFrame& frame) {
  auto ready = read_body<contract::WorkerReady>(frame);
  if (!ready) return false;
  if (core.verdict) return true;  // too late: it is being ended
  if (core.supervisor.is_ready()) return device_measured(core, *ready);
  core.engine = *std::move(ready);
  core.engine_refusal.reset();
  core.supervisor.ready();
  core.liveness.begin(core.engine.device.kind == "cpu", core.now());
  core.timer.wake_at(core.liveness.next_tick());
  models_meet_worker(core);
  dispatch(core);
  return true;
}

// The engine says why it cannot start; its process ends next.
bool worker_refused(Core& core, const InFrame& frame) {
  const auto message = read_body<contract::Error>(frame);
  if (!message) return false;
  const Error error = to_error(*message);
  log::event(log::Level::kError, core.supervisor.is_ready() ? "engine_reports" : "engine_refuses",
             {{"code", name_of(error.code)}}, "the engine {}: {}",
             core.supervisor.is_ready() ? "reports" : "cannot start", one_line(error.what));
  if (!error.hint.empty()) log::error("what to do: {}", one_line(error.hint));
  if (core.supervisor.is_ready()) {
    observe_fault(core, error);
    return true;
  }
  core.engine_refusal = error;
  core.engine_refused = true;
  return true;
}

// Of models that have left meanwhile nothing is shown.
bool caches_reported(Core& core, const InFrame& frame) {
  auto report = read_body<contract::CacheReport>(frame);
  if (!report) return false;
  core.caches = std::move(report->caches);
  std::erase_if(core.caches, [&](const contract::CacheEntry& cache) {
    const Model* model = core.models.find(cache.model);
    return model == nullptr || model->stage != Stage::kHot;
  });
  return true;
}

template <class... Messages>
bool is_one_of(const InFrame& frame) {
  return (... || (frame.type == Messages::kType && read_body<Messages>(frame)));
}

// Whether it can be said of a job. Most is passed on as it came, and a client gives its connection
// up over what it cannot read.
bool is_sound(const InFrame& frame) {
  return is_one_of<contract::Token, contract::Progress, contract::InputsDone, contract::Computed,
                   contract::Generated, contract::Encoded, contract::Error>(frame);
}

// The worker has no word about a job that it was not given yet.
bool job_frame(Core& core, Job& job, InFrame frame) {
  if (!job.running || !is_sound(frame)) return false;
  if (frame.type == contract::Computed::kType) {
    job_computed(core, job);
    return true;
  }
  switch (contract::kind_of_type(frame.type)) {
    case contract::Kind::kEvent:
      job_event(core, job, std::move(frame));
      return true;
    case contract::Kind::kReply:
      if (!can_end(job, frame.type)) return false;
      job_ended(core, job, frame);
      return true;
    default:
      return false;
  }
}

template <class M>
bool end_call(Core& core, JobId id, const InFrame& frame, void (*done)(Core&, Model&, const M&)) {
  const auto reply = read_body<M>(frame);
  Model* model = core.models.find(core.model_calls.at(id).model);
  if (!reply || model == nullptr) return false;
  core.model_calls.erase(id);
  done(core, *model, *reply);
  return true;
}

bool call_failed(Core& core, JobId id, const InFrame& frame) {
  const auto error = read_body<contract::Error>(frame);
  if (!error) return false;
  const ModelCall call = core.model_calls.extract(id).mapped();
  model_call_failed(core, call, to_error(*error));
  return true;
}

bool call_progress(Core& core, const ModelCall& call, const InFrame& frame) {
  const auto progress = read_body<contract::Progress>(frame);
  const Model* model = core.models.find(call.model);
  if (progress && model != nullptr) show_loading(core, *model, *progress);
  return static_cast<bool>(progress);
}

bool call_frame(Core& core, JobId id, const InFrame& frame) {
  const ModelCall& call = core.model_calls.at(id);
  switch (frame.type) {
    case contract::Progress::kType:
      return call_progress(core, call, frame);
    case contract::Error::kType:
      return call_failed(core, id, frame);
    case contract::ModelOffered::kType:
      return call.op == Op::kAttach && end_call(core, id, frame, model_attached);
    case contract::ModelLoaded::kType:
      return call.op == Op::kLoad && !call.unload && end_call(core, id, frame, model_loaded);
    case contract::ModelUnloaded::kType:
      return call.unload && end_call(core, id, frame, model_unloaded);
    default:
      return false;
  }
}

}  // namespace

bool receive_from_worker(Core& core, InFrame frame) {
  if (frame.type == contract::WorkerReady::kType) return worker_ready(core, frame);
  if (frame.type == contract::Error::kType && frame.request_id == 0)
    return worker_refused(core, frame);
  if (frame.type == contract::CacheReport::kType) return caches_reported(core, frame);
  if (frame.type == contract::Beat::kType) return engine_beat(core, frame);
  if (frame.type == contract::LastWords::kType) return engine_last_words(core, frame);
  if (frame.type == contract::WeightsCached::kType) return weights_cached(core, frame);
  if (frame.type == contract::LendArena::kType) return lend_arena(core, std::move(frame));
  if (frame.type == contract::TakeBackArena::kType) return take_back_arena(core, frame);
  if (is_farewell(core, frame)) return true;
  const auto job = core.jobs.find(frame.request_id);
  if (job != core.jobs.end()) return job_frame(core, job->second, std::move(frame));
  if (core.counts.contains(frame.request_id)) return count_answered(core, frame.request_id, frame);
  if (core.model_calls.contains(frame.request_id)) return call_frame(core, frame.request_id, frame);
  log::debug("the worker sent {} for job {}, which has ended", contract::name_of_type(frame.type),
             frame.request_id);
  return true;
}

}  // namespace hearth::broker
