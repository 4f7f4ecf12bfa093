#include "daemon/broker/residency.h"

#include <algorithm>

#include <fmt/format.h>

#include "daemon/broker/counts.h"
#include "daemon/broker/idle.h"
#include "daemon/broker/memory_ladder.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/room.h"
#include "daemon/broker/schedule.h"
#include "daemon/broker/warm.h"
#include "daemon/broker/weights_files.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

JobId begin_call(Core& core, Model& model, Op op, bool unload = false) {
  model.call = core.next_job_id();
  core.model_calls[model.call] = ModelCall{op, unload, model.id};
  return model.call;
}

std::vector<Caller> take(std::vector<Caller>& callers) {
  return std::exchange(callers, {});
}

void end_waiting(Core& core, Model& model, const Error& error) {
  for (const Caller caller : take(model.offerers)) core.fail(caller, error);
  for (const Caller caller : take(model.loaders)) core.fail(caller, error);
  fail_waiting_counts(core, model, error);
  fail_waiting_jobs(core, model, error);
}

void leave_examination(Model& model) {
  model.examination = 0;
  model.examine_deadline = TimePoint::max();
  if (model.stage == Stage::kExamining) model.stage = Stage::kDetached;
}

Error changed(const Model& model) {
  return fail(Code::kModelChanged,
              fmt::format("Files of {} changed after it was {}.", printable(model.name),
                          model.is_public ? "published" : "offered"),
              model.is_public ? "Restart the service, which publishes the new files." : "");
}

void attach(Core& core, Model& model) {
  contract::AttachModel message;
  message.model = model.id;
  message.name = model.name;
  message.labels = model.labels;
  message.dtype = model.numerics.dtype;
  message.head = model.numerics.head;
  message.attention = model.numerics.attention;
  model.stage = Stage::kAttaching;
  model.examine_soon = false;
  core.worker.send(make_frame(begin_call(core, model, Op::kAttach), message, model.files));
}

void end_examination(Core& core, const std::string& id, std::uint64_t examination,
                     const Result<ExaminedFiles>& examined) {
  Model* model = core.models.find(id);
  if (model == nullptr || model->examination != examination) return;
  leave_examination(*model);
  if (examined && examined->identity == model->identity) {
    model->recheck = false;
  } else {
    model->examine_soon = false;
    end_waiting(core, *model, changed(*model));
  }
  advance(core, *model);
}

// Have the files changed since they were offered? A new process cannot know.
void examine_again(Core& core, Model& model) {
  model.stage = Stage::kExamining;
  model.examination = ++core.last_examination;
  auto work = [&core, id = model.id, n = model.examination, files = model.files,
               labels = model.labels, numerics = model.numerics]() -> OffLoop::Continuation {
    std::vector<int> fds;
    for (const SharedFd& file : files) fds.push_back(file->get());
    auto examined = std::make_shared<Result<ExaminedFiles>>(examine(fds, labels, numerics));
    return [&core, id, n, examined] { end_examination(core, id, n, *examined); };
  };
  model.ticket = core.off_loop.run(OffLoop::Lane::kFiles, std::move(work));
  model.examine_deadline = core.now() + (model.ticket == 0 ? Milliseconds(0) : core.config.examine);
  core.timer.wake_at(model.examine_deadline);
}

void load(Core& core, Model& model) {
  contract::LoadModel message;
  message.model = model.id;
  log::event(log::Level::kInfo, "model_loading", {{"model", model.name}, {"id", model.id}},
             "{} {} ({})", model.stage == Stage::kResting ? "bringing back" : "loading",
             printable(model.name), model.id);
  model.stage = Stage::kLoading;
  model.load_cancelled = false;
  model.answered = false;
  model.load_began = core.now();
  send_weights_file(core, model);
  core.worker.send(make_frame(begin_call(core, model, Op::kLoad), message));
}

void leave_memory(Core& core, Model& model, Stage stage) {
  model.stage = stage;
  model.resident_bytes = 0;
  std::erase_if(core.caches, [&](const auto& cache) { return cache.model == model.id; });
}

void detach(Core& core, Model& model) {
  contract::DetachModel message;
  message.model = model.id;
  model.stage = Stage::kDetached;
  core.worker.send(make_frame(0, message));
}

void cancel_load(Core& core, Model& model) {
  if (model.load_cancelled) return;
  model.load_cancelled = true;
  core.worker.send(make_frame(model.call, contract::Cancel{}));
}

template <class Message>
void leave(Core& core, Model& model) {
  Message message;
  message.model = model.id;
  model.stage = Stage::kLeaving;
  model.leaves_when_idle = false;
  core.worker.send(make_frame(begin_call(core, model, Op::kLoad, true), message));
}

void answer_offer(Core& core, Model& model, Caller caller) {
  hold(model, caller.connection);
  contract::ModelOffered reply;
  reply.model = model.id;
  reply.family = model.family;
  reply.memory = model.memory;
  reply.warnings = model.warnings;
  core.reply(caller, reply);
}

void answer_loaders(Core& core, Model& model) {
  contract::ModelLoaded reply;
  reply.model = model.id;
  reply.resident_bytes = model.resident_bytes;
  reply.load_ms = model.load_ms;
  reply.warm = model.warm_load && model.load_ms > 0.0;
  for (const Caller caller : take(model.loaders)) core.reply(caller, reply);
}

void answer_unloaders(Core& core, Model& model, bool resident) {
  contract::ModelUnloaded reply;
  reply.resident = resident;
  for (const Caller caller : take(model.unloaders)) core.reply(caller, reply);
}

// It has left, if not by the front door.
void lose_worker(Core& core, Model& model) {
  leave_examination(model);
  const std::uint64_t freed_bytes = charged_bytes(model);
  leave_memory(core, model, Stage::kDetached);
  take_evicted(core, model);
  model.image_bytes = 0;
  model_left(core, model, freed_bytes);
  model.leaves_when_idle = false;
  model.examine_soon = false;
  answer_unloaders(core, model, false);
}

bool is_known_to_worker(const Model& model) {
  return model.stage != Stage::kDetached && model.stage != Stage::kExamining &&
         model.stage != Stage::kAttaching;
}

bool is_given_up(const Model& model) {
  return !model.is_at_work() && model.holders.empty();
}

void forget(Core& core, Model& model) {
  if (model.stage == Stage::kCold) detach(core, model);
  log::debug("forgetting {}", model.id);
  take_evicted(core, model);
  core.models.erase(model.id);
}

// An engine that cannot start will not come soon: nobody waits for it.
void advance_without_worker(Core& core, Model& model) {
  if (!core.engine_refusal || core.supervisor.state() != Supervisor::State::kFailed) return;
  end_waiting(core, model, *core.engine_refusal);
  if (model.stage == Stage::kDetached && model.is_disposable()) forget(core, model);
}

void advance_detached(Core& core, Model& model) {
  if (!model.wants_heat() && model.offerers.empty() && !model.examine_soon &&
      !awaits_counts(core, model))
    return;
  model.recheck ? examine_again(core, model) : attach(core, model);
}

// Cold or resting: whoever wants it has it loaded once there is room.
void advance_cold(Core& core, Model& model) {
  for (const Caller caller : take(model.offerers)) answer_offer(core, model, caller);
  if (model.wants_heat()) {
    const Result<bool> room = find_room(core, model);
    if (room && *room) load(core, model);
    if (room) return;
    log::event(log::Level::kWarning, "no_room", {{"model", model.name}, {"id", model.id}}, "{}",
               room.error().what);
    take_evicted(core, model);
    end_waiting(core, model, room.error());
  }
  if (model.stage == Stage::kResting) {
    if (model.leaves_when_idle && is_given_up(model)) forget_image(core, model);
  } else if (model.is_disposable()) {
    forget(core, model);
  }
}

void advance_hot(Core& core, Model& model) {
  for (const Caller caller : take(model.offerers)) answer_offer(core, model, caller);
  model.load_ms = 0.0;
  answer_loaders(core, model);
  if (model.leaves_when_idle && is_given_up(model) && !model.pinned) unload(core, model);
}

// Nobody is leaving any more, or one fewer.
void go_on(Core& core) {
  for (Model* model : core.models.all()) advance(core, *model);
  dispatch(core);
}

}  // namespace

void hold(Model& model, ConnectionId client) {
  model.holders.insert(client);
  model.leaves_when_idle = false;
}

void unload(Core& core, Model& model) {
  leave<contract::UnloadModel>(core, model);
}

void rest(Core& core, Model& model) {
  model.image_bytes = model.memory.image_bytes;
  leave<contract::RestModel>(core, model);
}

void give_up(Core& core, Model& model, Caller caller) {
  model.holders.erase(caller.connection);
  model.leaves_when_idle = model.holders.empty();
  model.unloaders.push_back(caller);
  // Those whose memory is still in use hear so at once.
  const bool stays = model.pinned || !is_given_up(model);
  if (model.stage == Stage::kLoading || (model.stage == Stage::kHot && stays))
    answer_unloaders(core, model, true);
  else if (model.stage != Stage::kHot && model.stage != Stage::kLeaving)
    answer_unloaders(core, model, false);
  advance(core, model);
}

void advance(Core& core, Model& model) {
  if (model.stage == Stage::kDetached && model.is_disposable() && !awaits_counts(core, model))
    return forget(core, model);
  if (!core.supervisor.is_ready() || core.suspension.is_on())
    return advance_without_worker(core, model);
  if (is_known_to_worker(model)) send_counts(core, model);
  switch (model.stage) {
    case Stage::kDetached:
      return advance_detached(core, model);
    case Stage::kCold:
    case Stage::kResting:
      return advance_cold(core, model);
    case Stage::kLoading:
      if (!model.wants_heat()) cancel_load(core, model);
      return;
    case Stage::kHot:
      return advance_hot(core, model);
    case Stage::kExamining:
    case Stage::kAttaching:
    case Stage::kLeaving:
      return;
  }
}

void model_attached(Core& core, Model& model, const contract::ModelOffered& reply) {
  model.stage = Stage::kCold;
  model.family = reply.family;
  model.memory = reply.memory;
  model.warnings = reply.warnings;
  core.quarantine.succeeded(model.id, Op::kAttach);
  advance(core, model);
}

void model_loaded(Core& core, Model& model, const contract::ModelLoaded& reply) {
  model.stage = Stage::kHot;
  model.resident_bytes = reply.resident_bytes;
  model.tried_again = false;
  model.load_ms = milliseconds_between(model.load_began, core.now());
  model.warm_load = reply.warm;
  used(core, model);
  ++model.loads;
  core.quarantine.succeeded(model.id, Op::kLoad);
  observe_load(core, model);
  log::event(log::Level::kInfo, "model_loaded",
             {{"model", model.name},
              {"id", model.id},
              {"bytes", model.resident_bytes},
              {"ms", model.load_ms}},
             "{} ({}) is loaded: {:.1f} MB in {:.0f} ms", printable(model.name), model.id,
             static_cast<double>(model.resident_bytes) / 1e6, model.load_ms);
  account_loading(core, model);
  answer_loaders(core, model);
  advance(core, model);
  dispatch(core);
}

void model_unloaded(Core& core, Model& model, const contract::ModelUnloaded& reply) {
  const std::uint64_t freed_bytes = charged_bytes(model);
  leave_memory(core, model, reply.image_bytes > 0 ? Stage::kResting : Stage::kCold);
  model.image_bytes = reply.image_bytes;
  model_left(core, model, freed_bytes);
  answer_unloaders(core, model, false);
  go_on(core);  // some may wait for the room
}

void model_call_failed(Core& core, const ModelCall& call, const Error& error) {
  Model* model = core.models.find(call.model);
  if (model == nullptr) return;
  const bool cancelled = error.code == Code::kCancelled && model->load_cancelled;
  if (!cancelled)
    log::event(log::Level::kWarning, "model_failed",
               {{"model", model->name}, {"id", model->id}, {"code", name_of(error.code)}},
               "{} ({}): {}", printable(model->name), model->id, printable(error.what));
  if (call.unload) {
    model->stage = Stage::kHot;
    model->image_bytes = 0;
    model_left(core, *model, 0);
    answer_unloaders(core, *model, true);
    return go_on(core);  // who waits for the room must look elsewhere
  } else if (call.op == Op::kAttach) {
    model->stage = Stage::kDetached;
    model->recheck = true;
    end_waiting(core, *model, error);
  } else {
    // Without room it rests on at the worker; any other error has spoilt it.
    const bool rests = model->image_bytes > 0 && (cancelled || error.code == Code::kOutOfMemory);
    if (!rests) model->image_bytes = 0;
    model->stage = rests ? Stage::kResting : Stage::kCold;
    // A load that was cancelled while somebody new came to want the model starts again.
    const bool is_full = error.code == Code::kOutOfMemory;
    const bool again = cancelled || (is_full && climb(core, *model, model->tried_again));
    model->tried_again = again && is_full;
    if (model->tried_again) ++core.ladder.retries;
    if (!again) take_evicted(core, *model);
    if (!again) end_waiting(core, *model, is_full ? with_holders(core, *model, error) : error);
  }
  advance(core, *model);
}

void show_loading(Core& core, const Model& model, const contract::Progress& progress) {
  for (const Caller caller : model.loaders) core.event(caller, make_frame(0, progress));
  for (const auto& [id, job] : core.jobs)
    if (!job.running && job.model == model.id) core.event(job.caller, make_frame(0, progress));
}

void release_models_of(Core& core, ConnectionId client) {
  const auto of_client = [&](const Caller& caller) { return caller.connection == client; };
  drop_counts_of(core, client);
  for (Model* model : core.models.all()) {
    std::erase_if(model->offerers, of_client);
    std::erase_if(model->loaders, of_client);
    std::erase_if(model->unloaders, of_client);
    model->holders.erase(client);
    advance(core, *model);
  }
}

void stop_waiting(Core& core, Model& model, Caller caller) {
  drop_count(core, caller);
  std::erase(model.offerers, caller);
  std::erase(model.loaders, caller);
  std::erase(model.unloaders, caller);
  advance(core, model);
}

void models_meet_worker(Core& core) {
  for (Model* model : core.models.all()) {
    model->examine_soon = model->is_public && check_quarantine(core, *model);
    model->recheck = true;  // however long it had to wait for this process
    advance(core, *model);
  }
}

void models_lose_worker(Core& core, const Error& error) {
  core.model_calls.clear();
  counts_lose_worker(core, error);
  for (Model* model : core.models.all()) {
    lose_worker(core, *model);
    end_waiting(core, *model, error);
    advance(core, *model);
  }
}

void models_leave_worker(Core& core) {
  core.model_calls.clear();
  for (Model* model : core.models.all()) {
    lose_worker(core, *model);
    advance(core, *model);
  }
}

Result<void> check_quarantine(Core& core, const Model& model) {
  const std::optional<Op> op = core.quarantine.refused(model.id, core.now());
  if (!op) return {};
  return fail(
      Code::kQuarantined,
      fmt::format("{} is refused: the engine process ended {} times while {}.",
                  printable(model.name), Quarantine::kDeaths, name_of(*op)),
      fmt::format("Offer the model again in {} s to try once more; the service's log has the "
                  "reason. `hearth quarantine clear` gives it another chance at once.",
                  Quarantine::kPatience.count()));
}

Error files_do_not_answer(const Core& core) {
  return fail(Code::kBadModel,
              fmt::format("The files do not answer within {} ms.", core.config.examine.count()),
              "Is their file system (network, FUSE) alive?");
}

void examinations_tick(Core& core) {
  for (Model* model : core.models.all()) {
    if (model->stage != Stage::kExamining) continue;
    if (core.now() < model->examine_deadline) {
      core.timer.wake_at(model->examine_deadline);
      continue;
    }
    core.off_loop.abandon(model->ticket);
    leave_examination(*model);
    model->examine_soon = false;
    end_waiting(core, *model, files_do_not_answer(core));
    advance(core, *model);
  }
}

}  // namespace hearth::broker
