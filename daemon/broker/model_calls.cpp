#include "daemon/broker/model_calls.h"

#include <fmt/format.h>

#include "daemon/broker/idle.h"
#include "daemon/broker/memory_ladder.h"
#include "daemon/broker/model_waiters.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/residency.h"
#include "daemon/broker/room.h"
#include "daemon/broker/schedule.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

// Nobody is leaving any more, or one fewer.
void go_on(Core& core) {
  for (Model* model : core.models.all()) advance(core, *model);
  dispatch(core);
}

}  // namespace

void leave_memory(Core& core, Model& model, Stage stage) {
  model.stage = stage;
  model.resident_bytes = 0;
  std::erase_if(core.caches, [&](const auto& cache) { return cache.model == model.id; });
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

}  // namespace hearth::broker
