#include "daemon/broker/model_waiters.h"

#include "daemon/broker/counts.h"
#include "daemon/broker/residency.h"
#include "daemon/broker/schedule.h"

namespace hearth::broker {
namespace {

std::vector<Caller> take(std::vector<Caller>& callers) {
  return std::exchange(callers, {});
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

}  // namespace

void answer_offerers(Core& core, Model& model) {
  for (const Caller caller : take(model.offerers)) answer_offer(core, model, caller);
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

void end_waiting(Core& core, Model& model, const Error& error) {
  for (const Caller caller : take(model.offerers)) core.fail(caller, error);
  for (const Caller caller : take(model.loaders)) core.fail(caller, error);
  fail_waiting_counts(core, model, error);
  fail_waiting_jobs(core, model, error);
}

void show_loading(Core& core, const Model& model, const contract::Progress& progress) {
  for (const Caller caller : model.loaders) core.event(caller, make_frame(0, progress));
  for (const auto& [id, job] : core.jobs)
    if (!job.running && job.model == model.id) core.event(job.caller, make_frame(0, progress));
}

}  // namespace hearth::broker
