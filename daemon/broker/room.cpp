#include "daemon/broker/room.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "daemon/broker/memory_cost.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/residency.h"
#include "daemon/broker/warm.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

constexpr std::uint64_t kGibibyte = 1ull << 30;
constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t kNamed = 4;  // models, and programs of each, that an error names

std::uint64_t saturated_sum(std::uint64_t a, std::uint64_t b) {
  return a > kUnlimited - b ? kUnlimited : a + b;
}

std::string gib(std::uint64_t bytes) {
  return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / static_cast<double>(kGibibyte));
}

// Tells models of the same files apart.
std::string label_of(const Model& model) {
  return model.numerics.dtype == "auto" ? model.name
                                        : fmt::format("{} {}", model.name, model.numerics.dtype);
}

std::vector<Model*> idle_models(Core& core) {
  std::vector<Model*> idle = core.models.all();
  std::erase_if(idle, [](const Model* model) {
    return model->stage != Stage::kHot || model->is_at_work() || model->pinned;
  });
  return idle;
}

std::vector<Model*> models_at_work(Core& core, const Model& wanted) {
  std::vector<Model*> at_work = core.models.all();
  std::erase_if(at_work, [&](const Model* model) {
    return model == &wanted || charged_bytes(*model) == 0 || !model->is_at_work();
  });
  return at_work;
}

// Those that would be idle, but must not leave.
std::vector<Model*> pinned_models(Core& core, const Model& wanted) {
  std::vector<Model*> pinned = core.models.all();
  std::erase_if(pinned, [&](const Model* model) {
    return model == &wanted || charged_bytes(*model) == 0 || model->is_at_work() || !model->pinned;
  });
  return pinned;
}

// Those of `idle` that free `needed_bytes`; empty when they cannot.
std::vector<Model*> choose(Core& core, const std::vector<Model*>& idle,
                           std::uint64_t needed_bytes) {
  std::vector<IdleModel> candidates;
  for (const Model* model : idle)
    candidates.push_back({.bytes = charged_bytes(*model),
                          .reload_bytes = model->memory.weights_bytes,
                          .idle = idle_time(core, *model),
                          .rests = could_rest(core, *model)});
  std::vector<Model*> leaving;
  if (const auto chosen = choose_leaving(candidates, needed_bytes))
    for (const std::size_t i : *chosen) leaving.push_back(idle[i]);
  return leaving;
}

std::uint64_t free_bytes(Core& core) {
  return left_of(memory_budget_bytes(core), charged_bytes(core));
}

std::vector<Model*> leaving_models(Core& core) {
  std::vector<Model*> leaving = core.models.all();
  std::erase_if(leaving, [](const Model* model) { return model->stage != Stage::kLeaving; });
  return leaving;
}

// "ComfyUI (process 4711), 2 more"
std::string programs_of(const Core& core, const Model& model) {
  std::string text;
  std::size_t n = 0;
  for (const ConnectionId id : model.holders) {
    const auto client = core.clients.find(id);
    if (client == core.clients.end() || ++n > kNamed) continue;
    text += fmt::format("{}{} (process {})", text.empty() ? "" : ", ",
                        printable(client->second.name), client->second.peer.pid);
  }
  if (n > kNamed) text += fmt::format(", {} more", n - kNamed);
  return text;
}

std::string describe(const Core& core, const std::vector<Model*>& at_work) {
  std::string text;
  for (std::size_t i = 0; i < std::min(at_work.size(), kNamed); ++i) {
    const Model& model = *at_work[i];
    const std::string programs = programs_of(core, model);
    text += fmt::format("{}{} ({}, open requests: {}{}{})", i == 0 ? "" : "; ",
                        printable(label_of(model)), gib(charged_bytes(model)),
                        model.running_jobs + model.waiting_jobs + model.loaders.size(),
                        programs.empty() ? "" : ", of ", programs);
  }
  if (at_work.size() > kNamed) text += fmt::format("; {} more", at_work.size() - kNamed);
  return text;
}

Error no_room(Core& core, const Model& model) {
  const std::uint64_t needed = planned_bytes(model);
  const std::uint64_t budget = memory_budget_bytes(core);
  const std::string numbers =
      fmt::format("{} needs {}; {} of the budget of {} are free", printable(label_of(model)),
                  gib(needed), gib(free_bytes(core)), gib(budget));
  const std::string_view smaller =
      model.numerics.dtype == "int4" ? "" : "a smaller precision (dtype int8 or int4), ";
  if (needed > budget)
    return fail(
        Code::kOutOfMemory, numbers + ", and all of it would not do.",
        fmt::format("Choose {}a smaller model, or start the service with a larger --memory.",
                    smaller));
  const std::vector<Model*> at_work = models_at_work(core, model);
  const std::vector<Model*> pinned = pinned_models(core, model);
  std::string what = numbers + ".";
  if (!at_work.empty()) what += fmt::format(" At work: {}.", describe(core, at_work));
  if (!pinned.empty()) what += fmt::format(" Pinned: {}.", describe(core, pinned));
  return fail(Code::kOutOfMemory, std::move(what),
              fmt::format("{}, or choose {}a smaller model.",
                          at_work.empty() ? "Have an administrator unpin one (`hearth unpin`)"
                                          : "Try again when they have answered",
                          smaller));
}

void evict(Core& core, Model& model, bool may_rest, std::string_view for_whom) {
  const bool rests = may_rest && make_room_for_image(core, model);
  observe_eviction(core, rests);
  log::event(log::Level::kInfo, "model_leaves",
             {{"model", model.name},
              {"id", model.id},
              {"bytes", charged_bytes(model)},
              {"to", rests ? "warm" : "cold"}},
             "{} ({}) leaves for {}{}: {} are given back", printable(label_of(model)), model.id,
             for_whom, rests ? " and rests" : "", gib(charged_bytes(model)));
  rests ? rest(core, model) : unload(core, model);
}

// Whose image is worth most goes first, so that pinned memory is its.
void evict_all(Core& core, std::vector<Model*> models, std::string_view for_whom) {
  std::stable_sort(models.begin(), models.end(), [&](const Model* a, const Model* b) {
    return worth_of_image(core, *a) > worth_of_image(core, *b);
  });
  for (Model* model : models) evict(core, *model, true, for_whom);
}

void evict_for(Core& core, const std::vector<Model*>& models, const Model& wanted) {
  for (const Model* model : models) observe_leaving(core, *model, wanted);
  evict_all(core, models, printable(label_of(wanted)));
}

void answer_if_done(Core& core, const FreeCall& call) {
  if (!call.awaited.empty()) return;
  contract::MemoryFreed reply = call.freed;
  reply.resident_bytes = charged_bytes(core);
  core.reply(call.caller, reply);
}

}  // namespace

std::uint64_t memory_budget_bytes(const Core& core) {
  if (core.config.memory_bytes != 0) return core.config.memory_bytes;
  const contract::Device& device = core.engine.device;
  if (device.memory_bytes == 0) return kUnlimited;
  // RAM is also the system's, the other programs' and the pictures'.
  if (device.kind == "cpu") return device.memory_bytes / 4 * 3;
  const std::uint64_t margin = std::max(kGibibyte, device.memory_bytes / 100 * 6);
  return left_of(device.memory_bytes, margin);
}

// Sizes come from what a model's files say of themselves: no sum of them may wrap.
std::uint64_t planned_bytes(const Model& model) {
  const contract::MemoryPlan& plan = model.memory;
  return saturated_sum(saturated_sum(plan.weights_bytes, plan.cache_bytes), plan.scratch_bytes);
}

std::uint64_t charged_bytes(const Model& model) {
  switch (model.stage) {
    case Stage::kLoading:
    case Stage::kHot:
    case Stage::kLeaving:
      return std::max(planned_bytes(model), model.resident_bytes);
    default:
      return 0;
  }
}

std::uint64_t charged_bytes(Core& core) {
  std::uint64_t bytes = 0;
  for (const Model* model : core.models.all()) bytes = saturated_sum(bytes, charged_bytes(*model));
  return bytes;
}

Result<bool> find_room(Core& core, const Model& model) {
  if (!leaving_models(core).empty()) return false;  // what they give back may be enough
  const std::uint64_t missing = left_of(planned_bytes(model), free_bytes(core));
  if (missing == 0) return true;
  const std::vector<Model*> leaving = choose(core, idle_models(core), missing);
  if (leaving.empty()) return no_room(core, model);
  evict_for(core, leaving, model);
  return false;
}

bool make_more_room(Core& core, const Model& wanted) {
  const std::vector<Model*> leaving = choose(core, idle_models(core), 1);
  evict_for(core, leaving, wanted);
  return !leaving.empty();
}

contract::LoadPlan plan_load(Core& core, const Model& model) {
  contract::LoadPlan plan;
  plan.model = model.id;
  plan.is_hot = model.stage == Stage::kHot;
  plan.is_warm = model.stage == Stage::kResting;
  plan.memory = model.memory;
  plan.free_bytes = free_bytes(core);
  plan.budget_bytes = memory_budget_bytes(core);
  for (const Model* each : models_at_work(core, model)) plan.at_work.push_back(label_of(*each));
  for (const Model* each : pinned_models(core, model)) plan.at_work.push_back(label_of(*each));
  std::uint64_t coming = plan.free_bytes;
  for (const Model* each : leaving_models(core))
    coming = saturated_sum(coming, charged_bytes(*each));
  const std::uint64_t missing =
      charged_bytes(model) > 0 ? 0 : left_of(planned_bytes(model), coming);
  for (const Model* each : choose(core, idle_models(core), missing))
    plan.leaving.push_back(label_of(*each));
  plan.fits = missing == 0 || !plan.leaving.empty();
  return plan;
}

void free_memory(Core& core, Caller caller, std::uint64_t nbytes) {
  FreeCall call;
  call.caller = caller;
  std::uint64_t coming = 0;
  for (const Model* each : leaving_models(core)) {
    coming = saturated_sum(coming, charged_bytes(*each));
    call.awaited.insert(each->id);
  }
  const std::vector<Model*> idle = idle_models(core);
  std::vector<Model*> leaving = nbytes == 0 ? idle : choose(core, idle, left_of(nbytes, coming));
  if (leaving.empty() && coming < nbytes) leaving = idle;  // not enough, but all there is
  for (const Model* each : leaving) call.awaited.insert(each->id);
  evict_all(core, leaving, "another program");
  answer_if_done(core, call);
  if (!call.awaited.empty()) core.free_calls.push_back(std::move(call));
}

void leave_device(Core& core, Model& model, bool may_rest, std::string_view for_whom) {
  evict(core, model, may_rest, for_whom);
}

Result<void> check_idle(const Model& model) {
  if (model.is_at_work() || model.stage == Stage::kLoading)
    return fail(Code::kBusy,
                fmt::format("{} is at work; open requests: {}.", printable(label_of(model)),
                            model.running_jobs + model.waiting_jobs + model.loaders.size()),
                "Try again when they have ended, or cancel them: `hearth jobs` shows them.");
  if (model.stage == Stage::kLeaving)
    return fail(Code::kBusy,
                fmt::format("{} is leaving the device already.", printable(label_of(model))),
                "Try again in a moment.");
  return {};
}

void evict_model(Core& core, Caller caller, Model& model, bool may_rest) {
  FreeCall call;
  call.caller = caller;
  if (model.stage == Stage::kHot) {
    call.awaited.insert(model.id);
    core.free_calls.push_back(std::move(call));
    return leave_device(core, model, may_rest, "whoever asked for it");
  }
  if (model.stage == Stage::kResting && !may_rest) {
    call.freed.models.push_back(label_of(model));
    forget_image(core, model);
  }
  answer_if_done(core, call);
}

void model_left(Core& core, const Model& model, std::uint64_t freed_bytes) {
  for (FreeCall& call : core.free_calls) {
    if (call.awaited.erase(model.id) == 0) continue;
    call.freed.freed_bytes += freed_bytes;
    if (freed_bytes > 0) call.freed.models.push_back(label_of(model));
    answer_if_done(core, call);
  }
  std::erase_if(core.free_calls, [](const FreeCall& call) { return call.awaited.empty(); });
}

}  // namespace hearth::broker
