// offer_model, load_model, unload_model, plan_load, count_tokens, free_memory, list_models.
#include <fmt/format.h>

#include "daemon/broker/counts.h"
#include "daemon/broker/examination.h"
#include "daemon/broker/handlers/handlers.h"
#include "daemon/broker/handlers/reports.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/residency.h"
#include "daemon/broker/room.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

// A client's files while somebody looks at them.
struct Offer {
  contract::OfferModel message;
  std::vector<SharedFd> files;
};

struct Examination {
  Result<ExaminedFiles> files;
  std::optional<WeightsCache::File> weights;  // where its rounded weights are kept
};

Result<void> check_offer(Core& core, const Client& client, const contract::OfferModel& message,
                         std::size_t n_files) {
  CHECK_OK(check_labels(message.labels, n_files));
  if (core.models.held_by(client.id) >= core.config.models_held)
    return fail(Code::kBusy,
                fmt::format("This connection holds {} models, which is all it may.",
                            core.config.models_held),
                "Unload a model first.");
  if (core.models.open_files() + n_files > core.config.model_files)
    return fail(Code::kBusy, fmt::format("The service has {} model files open; {} more are too "
                                         "many.",
                                         core.models.open_files(), n_files));
  return {};
}

Numerics numerics_of(const contract::OfferModel& message) {
  return {message.dtype, message.head, message.attention};
}

void take_offer(Core& core, Caller caller, const Offer& offer, const Examination& examination) {
  OpenRequest* request = core.find_open(caller);
  const Result<ExaminedFiles>& examined = examination.files;
  if (request == nullptr) return;
  if (!examined) return core.fail(caller, examined.error());
  auto added = core.models.add(*examined, offer.message.name);
  if (!added) return core.fail(caller, added.error());
  Model& model = **added;
  if (model.files.empty()) {
    model.labels = offer.message.labels;
    model.numerics = numerics_of(offer.message);
    model.files = offer.files;
    model.weights_file = examination.weights;
  }
  model.recheck = false;  // these are the same files, as they were
  core.quarantine.offered_again(model.id, core.now());
  if (auto allowed = check_quarantine(core, model); !allowed) {
    core.fail(caller, allowed.error());
    return advance(core, model);
  }
  request->model = model.id;
  request->ticket = 0;
  request->deadline = TimePoint::max();
  model.offerers.push_back(caller);
  advance(core, model);
}

OffLoop::Work examine_offer(Core& core, Caller caller, std::shared_ptr<const Offer> offer) {
  return [&core, caller, offer = std::move(offer),
          cache = core.config.weights_cache]() -> OffLoop::Continuation {
    std::vector<int> fds;
    for (const SharedFd& file : offer->files) fds.push_back(file->get());
    auto examined = std::make_shared<Examination>(
        Examination{examine(fds, offer->message.labels, numerics_of(offer->message)), {}});
    if (cache != nullptr && examined->files && !examined->files->weights_key.empty())
      examined->weights = cache->find(examined->files->weights_key);
    return [&core, caller, offer, examined] { take_offer(core, caller, *offer, *examined); };
  };
}

// For whoever looks for what holds up an upgrade.
void log_silence(const Client& client) {
  log::event(log::Level::kWarning, "files_silent",
             {{"connection", client.id},
              {"client", client.name},
              {"pid", client.peer.pid},
              {"uid", client.peer.uid}},
             "model files of {} (pid {}, uid {}) do not answer", printable(client.name),
             client.peer.pid, client.peer.uid);
}

Model* usable_model(Core& core, Client& client, Caller caller, const std::string& name) {
  Model* model = core.models.find_for(client.id, name);
  if (model == nullptr) {
    core.refuse(client, caller.request_id, unknown_model(name));
    return nullptr;
  }
  if (auto allowed = check_quarantine(core, *model); !allowed) {
    core.refuse(client, caller.request_id, allowed.error());
    return nullptr;
  }
  return model;
}

// Of tensors only the shape counts: they lie in no arena.
Result<void> check_shapes(const Core& core, const contract::CountTokens& message) {
  std::size_t tensors = 0;
  for (const contract::ChatMessage& turn : message.messages) {
    for (const contract::ContentPart& part : turn.content) {
      const bool is_text = part.kind == "text";
      if (is_text != !part.tensor)
        return fail(Code::kBadRequest,
                    fmt::format("A content part of kind {} {} a tensor.", part.kind,
                                is_text ? "has no use for" : "needs"));
      tensors += is_text ? 0 : 1;
    }
  }
  if (tensors <= core.config.limits.tensors) return {};
  return fail(
      Code::kBadRequest,
      fmt::format("The request has {} tensors, over {}.", tensors, core.config.limits.tensors),
      "Count fewer pictures in one request.");
}

}  // namespace

Error unknown_model(const std::string& name) {
  return fail(Code::kUnknownModel,
              fmt::format("No model \"{}\" was offered on this connection or is published.",
                          printable(name)));
}

void handle(Core& core, Client& client, Request request, const contract::OfferModel& message) {
  auto offer = std::make_shared<Offer>();
  offer->message = message;
  for (Fd& fd : request.fds) offer->files.push_back(core.off_loop.adopt(std::move(fd)));
  if (auto allowed = check_offer(core, client, message, offer->files.size()); !allowed)
    return core.refuse(client, request.caller.request_id, allowed.error());
  const Caller caller = core.open(client, request.caller.request_id, RequestKind::kOffer);
  const OffLoop::Ticket ticket =
      core.off_loop.run(OffLoop::Lane::kClientFiles, examine_offer(core, caller, offer));
  if (ticket == 0)
    return core.fail(caller, fail(Code::kBusy, "Too many files of clients do not answer."));
  OpenRequest& open = *core.find_open(caller);
  open.ticket = ticket;
  open.deadline = core.now() + core.config.examine;
  core.timer.wake_at(open.deadline);
}

void offers_tick(Core& core) {
  std::vector<std::pair<Caller, OffLoop::Ticket>> late;
  for (const auto& [id, client] : core.clients) {
    for (const auto& [request_id, request] : client.open) {
      if (request.deadline == TimePoint::max()) continue;
      if (core.now() >= request.deadline) {
        late.push_back({{id, request_id, request.serial}, request.ticket});
      } else {
        core.timer.wake_at(request.deadline);
      }
    }
  }
  for (const auto& [caller, ticket] : late) {
    core.off_loop.abandon(ticket);
    log_silence(core.clients.at(caller.connection));
    core.fail(caller, files_do_not_answer(core));
  }
}

void handle(Core& core, Client& client, Request request, const contract::LoadModel& message) {
  Model* model = usable_model(core, client, request.caller, message.model);
  if (model == nullptr) return;
  const Caller caller = core.open(client, request.caller.request_id, RequestKind::kLoad);
  OpenRequest& open = *core.find_open(caller);
  open.model = model->id;
  open.job = core.next_job_id();
  observe_request(core, caller, "load", model);
  hold(*model, client.id);
  model->loaders.push_back(caller);
  advance(core, *model);
}

void handle(Core& core, Client& client, Request request, const contract::UnloadModel& message) {
  Model* model = core.models.find_for(client.id, message.model);
  if (model == nullptr)
    return core.refuse(client, request.caller.request_id, unknown_model(message.model));
  const Caller caller = core.open(client, request.caller.request_id, RequestKind::kUnload);
  core.find_open(caller)->model = model->id;
  give_up(core, *model, caller);
}

void handle(Core& core, Client& client, Request request, const contract::PlanLoad& message) {
  const Model* model = usable_model(core, client, request.caller, message.model);
  if (model == nullptr) return;
  if (model->family.empty())
    return core.refuse(
        client, request.caller.request_id,
        fail(Code::kBusy,
             fmt::format("The engine has not looked at {} yet.", printable(model->name)),
             "Try again in a moment."));
  client.port->send(make_frame(request.caller.request_id, plan_load(core, *model)));
}

void handle(Core& core, Client& client, Request request, contract::CountTokens message) {
  Model* model = usable_model(core, client, request.caller, message.model);
  if (model == nullptr) return;
  if (auto allowed = check_shapes(core, message); !allowed)
    return core.refuse(client, request.caller.request_id, allowed.error());
  const Caller caller = core.open(client, request.caller.request_id, RequestKind::kCount);
  core.find_open(caller)->model = model->id;
  message.model = model->id;
  core.find_open(caller)->job = ask_count(core, *model, caller, contract::pack(message));
  advance(core, *model);
}

void handle(Core& core, Client& client, Request request, const contract::FreeMemory& message) {
  const Caller caller = core.open(client, request.caller.request_id, RequestKind::kFree);
  free_memory(core, caller, message.nbytes);
}

void handle(Core& core, Client& client, Request request, const contract::ListModels&) {
  contract::ModelList list;
  for (const Model* model : models_for(core, client))
    if (model->is_public || model->holders.contains(client.id))
      list.models.push_back(entry_of(core, *model));
  client.port->send(make_frame(request.caller.request_id, list));
}

}  // namespace hearth::broker
