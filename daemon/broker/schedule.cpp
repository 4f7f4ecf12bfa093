#include "daemon/broker/schedule.h"

#include <algorithm>
#include <utility>

#include "daemon/broker/answers.h"
#include "daemon/broker/arena_budget.h"
#include "daemon/broker/idle.h"
#include "daemon/broker/keys.h"
#include "daemon/broker/memory_ladder.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/places.h"
#include "daemon/broker/residency.h"
#include "daemon/broker/results.h"
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
  uncount_arena(core, arena.payer, arena.nbytes);
  core.arenas.erase(arena.id);
}

void release_arenas(Core& core, const Job& job) {
  for (const ArenaId id : job.arenas) {
    Arena* arena = core.arenas.find(id);
    if (arena != nullptr && --arena->jobs == 0 && arena->dropped) forget_arena(core, *arena);
  }
}

void give_slot_back(Core& core, Job& job) {
  if (job.held_slots == 0) return;
  --core.running;
  core.held_slots -= std::exchange(job.held_slots, 0);
}

// Takes the job out of the tables; its model may have nobody left afterwards.
Job remove(Core& core, JobId id) {
  auto node = core.jobs.extract(id);
  Job job = std::move(node.mapped());
  observe_job(core, job);
  release_arenas(core, job);
  core.recent.end(job.key, job.id);
  Model* model = core.models.find(job.model);
  if (job.running) {
    give_slot_back(core, job);
  } else {
    core.queue.remove(job.id);
    places_changed(core);
  }
  if (model != nullptr && job.running) used(core, *model);
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
  job.held_slots = std::min(job.slots, core.engine.slots);
  core.held_slots += job.held_slots;
  job.dispatched = core.now();
  used(core, model);
  assign(core, job);
  core.worker.send(OutFrame{job.type, job.id, job.body, {}});
}

// Its caller has been told nothing that a second run could contradict, and is still there.
bool may_wait_again(Core& core, const Job& job) {
  return !job.has_spoken && !job.cancelled && core.find_open(job.caller) != nullptr;
}

void put_back(Core& core, Job& job) {
  Model& model = *core.models.find(job.model);
  give_slot_back(core, job);
  --model.running_jobs;
  ++model.waiting_jobs;
  job.running = false;
  job.dispatched = TimePoint{};
  job.told_place = Job::kNotTold;
  core.queue.put_back({job.id, job.caller.connection, job.priority, job.cost_tokens}, core.now());
  places_changed(core);
}

void token_event(Core& core, Job& job, const InFrame& frame) {
  if (job.first_token == TimePoint{}) job.first_token = core.now();
  auto token = read_body<contract::Token>(frame);
  if (!token) return;
  const auto n = static_cast<std::uint32_t>(token->token_ids.size() / sizeof(std::int32_t));
  job.tokens += n;
  core.tokens.add(n, core.now());
  if (job.key) keep_said(job, *token);
}

// Who is tried again waits for the room that was made for it.
bool may_run(Core& core, JobId id) {
  const Job& job = core.jobs.at(id);
  const Model* model = core.models.find(job.model);
  if (model == nullptr || model->stage != Stage::kHot) return false;
  return !job.tried_again || !is_any_leaving(core);
}

// The job lacked memory. Whether it goes on.
bool try_again(Core& core, Job& job) {
  const Model& model = *core.models.find(job.model);
  if (job.cancelled || core.find_open(job.caller) == nullptr) return false;  // nobody wants it
  if (!climb(core, model, job.tried_again) || !may_wait_again(core, job)) return false;
  job.tried_again = true;
  ++core.ladder.retries;
  put_back(core, job);
  return true;
}

Error lack_of_memory(Core& core, const Job& job, const InFrame& terminal) {
  const auto message = read_body<contract::Error>(terminal);
  const Error error = fail(Code::kOutOfMemory, message ? message->what : "");
  const Model* model = core.models.find(job.model);
  return model == nullptr ? error : with_holders(core, *model, error);
}

}  // namespace

void enqueue(Core& core, Job job) {
  Model& model = *core.models.find(job.model);
  for (const ArenaId id : job.arenas) ++core.arenas.find(id)->jobs;
  ++model.waiting_jobs;
  core.queue.push({job.id, job.caller.connection, job.priority, job.cost_tokens}, core.now());
  if (job.key) core.recent.begin(job.key, {job.id, job.fingerprint});
  core.jobs.emplace(job.id, std::move(job));
  advance(core, model);
  dispatch(core);
  places_changed(core);
}

void dispatch(Core& core) {
  if (!core.supervisor.is_ready() || core.suspension.is_on()) return;
  while (core.held_slots < core.engine.slots) {
    const JobId id = core.queue.take(core.now(), [&](JobId job) { return may_run(core, job); });
    if (id == 0) return;
    start(core, core.jobs.at(id));
    places_changed(core);
  }
}

void job_event(Core& core, Job& job, InFrame frame) {
  if (frame.type == contract::Token::kType) token_event(core, job, frame);
  const bool frees_tensors = frame.type == contract::InputsDone::kType && !job.arenas.empty();
  if (frame.type == contract::Token::kType || frees_tensors) {
    job.has_spoken = true;
    job.body = {};
  }
  core.event(job.caller, OutFrame{frame.type, 0, std::move(frame.body), {}});
}

void job_computed(Core& core, Job& job) {
  give_slot_back(core, job);
  dispatch(core);
}

void job_ended(Core& core, Job& job, const InFrame& terminal) {
  const bool is_full = lacks_room(terminal);
  if (is_full && try_again(core, job)) return dispatch(core);
  const Job ended = remove(core, job.id);
  if (is_full) {
    core.fail(ended.caller, lack_of_memory(core, ended, terminal));
  } else {
    answer(core, ended, terminal);
  }
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

void cancel_all_jobs(Core& core) {
  std::vector<JobId> all;
  for (const auto& [id, job] : core.jobs) all.push_back(id);
  for (const JobId id : all)
    if (const auto job = core.jobs.find(id); job != core.jobs.end()) cancel_job(core, job->second);
}

bool is_any_job_running(const Core& core) {
  return std::any_of(core.jobs.begin(), core.jobs.end(),
                     [](const auto& entry) { return entry.second.running; });
}

void fail_waiting_jobs(Core& core, Model& model, const Error& error) {
  std::vector<JobId> waiting;
  for (const auto& [id, job] : core.jobs)
    if (!job.running && job.model == model.id) waiting.push_back(id);
  for (const JobId id : waiting) core.fail(remove(core, id).caller, error);
}

void account_loading(Core& core, const Model& model) {
  const std::vector<std::string> evicted = take_evicted(core, model);
  for (auto& [id, job] : core.jobs) {
    if (job.running || job.model != model.id) continue;
    job.load_ms += milliseconds_between(std::max(job.arrived, model.load_began), core.now());
    job.warm_load = model.warm_load;
    job.evicted = evicted;
  }
  for (const Caller caller : model.loaders) {
    OpenRequest* request = core.find_open(caller);
    if (request == nullptr) continue;
    contract::Receipt& receipt = request->receipt.emplace();
    receipt.model = model.id;
    receipt.load_ms = model.load_ms;
    receipt.warm_load = model.warm_load;
    receipt.evicted = evicted;
  }
}

void jobs_lose_worker(Core& core, const Error& error) {
  core.arenas.worker_gone();
  std::vector<JobId> all;
  for (const auto& [id, job] : core.jobs) all.push_back(id);
  for (const JobId id : all) core.fail(remove(core, id).caller, error);
}

void put_jobs_back(Core& core, const Error& error) {
  core.arenas.worker_gone();
  std::vector<Job*> running;
  for (auto& [id, job] : core.jobs)
    if (job.running) running.push_back(&job);
  // Each is put before those of before: the first to have run ends up first.
  std::sort(running.begin(), running.end(),
            [](const Job* a, const Job* b) { return a->dispatched > b->dispatched; });
  for (Job* job : running) {
    if (may_wait_again(core, *job)) {
      put_back(core, *job);
    } else {
      core.fail(remove(core, job->id).caller, error);
    }
  }
}

void drop_arena(Core& core, ArenaId id) {
  Arena* arena = core.arenas.find(id);
  if (arena == nullptr || std::exchange(arena->dropped, true)) return;
  if (arena->jobs == 0) forget_arena(core, *arena);
}

}  // namespace hearth::broker
