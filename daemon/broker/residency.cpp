#include "daemon/broker/residency.h"

#include <algorithm>

#include <fmt/format.h>

#include "daemon/broker/counts.h"
#include "daemon/broker/examination.h"
#include "daemon/broker/idle.h"
#include "daemon/broker/model_calls.h"
#include "daemon/broker/model_waiters.h"
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
  answer_offerers(core, model);
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
  answer_offerers(core, model);
  model.load_ms = 0.0;
  answer_loaders(core, model);
  if (model.leaves_when_idle && is_given_up(model) && !model.pinned) unload(core, model);
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

}  // namespace hearth::broker
