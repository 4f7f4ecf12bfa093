#include "daemon/broker/schedule.h"

#include <algorithm>
#include <utility>

#include "daemon/broker/residency.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

void attach_arena(Core& core, Arena& arena) {
  if (arena.attached) return;
  contract::AttachArena message;
  message.arena = arena.id;
  message.nbytes = arena.nbytes;
  arena.attached = true;
  core.worker.send(make_frame(0, message, {arena.fd}));
}

void forget_arena(Core& core, Arena& arena) {
  if (arena.attached && core.supervisor.is_ready()) {
    contract::DetachArena message;
    message.arena = arena.id;
    core.worker.send(make_frame(0, message));
  }
  core.unreserve_arena(arena.owner, arena.nbytes);
  core.arenas.erase(arena.id);
}

void release_arenas(Core& core, const Job& job) {
  for (const ArenaId id : job.arenas) {
    Arena* arena = core.arenas.find(id);
    if (arena != nullptr && --arena->jobs == 0 && arena->dropped) forget_arena(core, *arena);
  }
}

// Takes the job out of the tables; its model may have nobody left afterwards.
Job remove(Core& core, JobId id) {
  auto node = core.jobs.extract(id);
  Job job = std::move(node.mapped());
  release_arenas(core, job);
  Model* model = core.models.find(job.model);
  if (job.running) {
    --core.running;
  } else {
    core.queue.remove(job.caller.connection, job.id);
  }
  if (model != nullptr) --(job.running ? model->running_jobs : model->waiting_jobs);
  return job;
}

void advance_model(Core& core, const std::string& id) {
  if (Model* model = core.models.find(id)) advance(core, *model);
}

void start(Core& core, Job& job) {
  Model& model = *core.models.find(job.model);
  for (const ArenaId id : job.arenas) attach_arena(core, *core.arenas.find(id));
  --model.waiting_jobs;
  ++model.running_jobs;
  ++core.running;
  job.running = true;
  job.dispatched = core.now();
  model.last_used = job.dispatched;
  core.worker.send(OutFrame{contract::Generate::kType, job.id, std::move(job.body), {}});
}

bool may_run(Core& core, JobId id) {
  const Model* model = core.models.find(core.jobs.at(id).model);
  return model != nullptr && model->stage == Stage::kHot;
}

// The broker's part of the receipt; the worker has filled in the rest.
void complete_receipt(Core& core, const Job& job, contract::Receipt& receipt) {
  const TimePoint end = core.now();
  const TimePoint first = job.first_token == TimePoint{} ? end : job.first_token;
  receipt.load_ms = job.load_ms;
  receipt.queue_ms = std::max(0.0, milliseconds_between(job.arrived, job.dispatched) - job.load_ms);
  receipt.first_token_ms = milliseconds_between(job.arrived, first);
  receipt.total_ms = milliseconds_between(job.arrived, end);
  receipt.model = job.model;
  if (Model* model = core.models.find(job.model)) {
    receipt.model_loads = model->loads;
    model->arithmetic = receipt.dtype;
  }
}

void answer(Core& core, const Job& job, InFrame terminal) {
  if (terminal.type != contract::Generated::kType) {
    OutFrame frame{terminal.type, job.caller.request_id, std::move(terminal.body), {}};
    return core.finish(job.caller, std::move(frame));
  }
  auto generated = read_body<contract::Generated>(terminal);
  if (!generated) return core.fail(job.caller, fail(Code::kInternal, generated.error().what));
  core.quarantine.succeeded(job.model, Op::kGenerate);
  complete_receipt(core, job, generated->receipt);
  core.reply(job.caller, *generated);
}

}  // namespace

void enqueue(Core& core, Job job) {
  Model& model = *core.models.find(job.model);
  for (const ArenaId id : job.arenas) ++core.arenas.find(id)->jobs;
  ++model.waiting_jobs;
  core.queue.push(job.caller.connection, job.id);
  core.jobs.emplace(job.id, std::move(job));
  advance(core, model);
  dispatch(core);
}

void dispatch(Core& core) {
  if (!core.supervisor.is_ready()) return;
  while (core.running < core.engine.slots) {
    const JobId id = core.queue.take([&](JobId job) { return may_run(core, job); });
    if (id == 0) return;
    start(core, core.jobs.at(id));
  }
}

void job_event(Core& core, Job& job, InFrame frame) {
  if (frame.type == contract::Token::kType && job.first_token == TimePoint{})
    job.first_token = core.now();
  core.event(job.caller, OutFrame{frame.type, 0, std::move(frame.body), {}});
}

void job_ended(Core& core, Job& job, InFrame terminal) {
  const Job ended = remove(core, job.id);
  answer(core, ended, std::move(terminal));
  advance_model(core, ended.model);
  dispatch(core);
}

void cancel_job(Core& core, Job& job) {
  if (job.running) {
    if (!std::exchange(job.cancelled, true))
      core.worker.send(make_frame(job.id, contract::Cancel{}));
    return;
  }
  const Job ended = remove(core, job.id);
  core.fail(ended.caller, fail(Code::kCancelled, "The request was cancelled while it waited."));
  advance_model(core, ended.model);
}

void fail_waiting_jobs(Core& core, Model& model, const Error& error) {
  std::vector<JobId> waiting;
  for (const auto& [id, job] : core.jobs)
    if (!job.running && job.model == model.id) waiting.push_back(id);
  for (const JobId id : waiting) core.fail(remove(core, id).caller, error);
}

void account_loading(Core& core, const Model& model) {
  for (auto& [id, job] : core.jobs) {
    if (job.running || job.model != model.id) continue;
    job.load_ms += milliseconds_between(std::max(job.arrived, model.load_began), core.now());
  }
}

void jobs_lose_worker(Core& core, const Error& error) {
  core.arenas.worker_gone();
  std::vector<JobId> all;
  for (const auto& [id, job] : core.jobs) all.push_back(id);
  for (const JobId id : all) core.fail(remove(core, id).caller, error);
}

void drop_arena(Core& core, ArenaId id) {
  Arena* arena = core.arenas.find(id);
  if (arena == nullptr || std::exchange(arena->dropped, true)) return;
  if (arena->jobs == 0) forget_arena(core, *arena);
}

}  // namespace hearth::broker
