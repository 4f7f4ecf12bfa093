// list_jobs, cancel_job, kick_client, pin_model, evict_model, drain, suspend, resume,
// clear_quarantine.
#include <fmt/format.h>

#include "daemon/broker/drain.h"
#include "daemon/broker/ending.h"
#include "daemon/broker/engine_end.h"
#include "daemon/broker/handlers/handlers.h"
#include "daemon/broker/handlers/reports.h"
#include "daemon/broker/idle.h"
#include "daemon/broker/job_list.h"
#include "daemon/broker/residency.h"
#include "daemon/broker/rights.h"
#include "daemon/broker/room.h"
#include "daemon/broker/suspend.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

void answer_done(Client& client, const Request& request, std::string text) {
  contract::Done done;
  done.text = std::move(text);
  client.port->send(make_frame(request.caller.request_id, done));
}

// False: the client is none, and has been told.
bool is_administrator(Core& core, Client& client, const Request& request, std::string_view what) {
  const auto allowed = check_administrator(core, client, what);
  if (!allowed) core.refuse(client, request.caller.request_id, allowed.error());
  return static_cast<bool>(allowed);
}

// Of models that share a name, those that this client's user holds are meant, if there are any.
Result<Model*> find_named(Core& core, const Client& client, const std::string& id_or_name) {
  std::vector<Model*> named = core.models.named(id_or_name);
  if (named.empty())
    return fail(Code::kUnknownModel,
                fmt::format("The service knows no model \"{}\".", printable(id_or_name)),
                "`hearth ps` lists those it knows.");
  std::vector<Model*> own = named;
  std::erase_if(own, [&](const Model* model) { return !holds_as_user(core, client, *model); });
  if (!own.empty()) named = own;
  if (named.size() == 1) return named.front();
  std::string ids;
  for (const Model* model : named)
    ids += fmt::format("{}{} ({})", ids.empty() ? "" : ", ", model->id, model->numerics.dtype);
  return fail(Code::kBadRequest,
              fmt::format("{} models are called {}: {}.", named.size(), printable(id_or_name), ids),
              "Name one of them by its id.");
}

Result<Model*> find_evictable(Core& core, const Client& client, const std::string& id_or_name) {
  TRY(Model * model, find_named(core, client, id_or_name));
  if (model->pinned) CHECK_OK(check_administrator(core, client, "Evicting a pinned model"));
  if (!holds_as_user(core, client, *model))
    CHECK_OK(check_administrator(core, client, "Evicting a model that this user does not hold"));
  CHECK_OK(check_idle(*model));
  return model;
}

}  // namespace

void handle(Core& core, Client& client, Request request, const contract::ListJobs&) {
  client.port->send(make_frame(request.caller.request_id, list_jobs(core, client)));
}

void handle(Core& core, Client& client, Request request, const contract::CancelJob& message) {
  auto cancelled = cancel_listed_job(core, client, message.job);
  if (!cancelled) return core.refuse(client, request.caller.request_id, cancelled.error());
  answer_done(client, request, *std::move(cancelled));
}

void handle(Core& core, Client& client, Request request, const contract::KickClient& message) {
  if (!is_administrator(core, client, request, "Closing a connection")) return;
  const auto found = core.clients.find(message.connection);
  if (found == core.clients.end())
    return core.refuse(
        client, request.caller.request_id,
        fail(Code::kBadRequest, fmt::format("There is no connection {}.", message.connection),
             "`hearth clients` lists those there are."));
  Client& kicked = found->second;
  answer_done(client, request,
              fmt::format("Connection {} (process {}) was closed.", kicked.id, kicked.peer.pid));
  const Error error = fail(Code::kCancelled, fmt::format("The connection was closed by {}.",
                                                         describe_actor(client, kicked.peer.uid)));
  std::vector<Caller> open;
  for (const auto& [id, each] : kicked.open) open.push_back({kicked.id, id, each.serial});
  for (const Caller caller : open) end_request(core, caller, error);
  core.end_connection(kicked, error);
  if (kicked.id != client.id) forget_client(core, kicked.id);
}

void handle(Core& core, Client& client, Request request, const contract::PinModel& message) {
  if (!is_administrator(core, client, request, "Pinning a model")) return;
  const auto found = find_named(core, client, message.model);
  if (!found) return core.refuse(client, request.caller.request_id, found.error());
  Model& model = **found;
  model.pinned = message.pin;
  log::info("{} ({}) is {}", printable(model.name), model.id,
            model.pinned ? "pinned" : "not pinned");
  const bool is_loaded = model.stage == Stage::kHot || model.stage == Stage::kLoading;
  answer_done(client, request,
              fmt::format("{} is {}.{}", printable(model.name),
                          model.pinned ? "pinned" : "no longer pinned",
                          model.pinned && !is_loaded ? " It is not loaded." : ""));
  if (model.pinned) return;
  idle_tick(core);
  advance(core, model);  // what nobody holds any more leaves
}

void handle(Core& core, Client& client, Request request, const contract::EvictModel& message) {
  const auto found = find_evictable(core, client, message.model);
  if (!found) return core.refuse(client, request.caller.request_id, found.error());
  const Caller caller = core.open(client, request.caller.request_id, RequestKind::kFree);
  evict_model(core, caller, **found, message.to == "warm");
}

void handle(Core& core, Client& client, Request request, const contract::Drain& message) {
  if (!is_administrator(core, client, request, "Draining the service")) return;
  const Caller caller = core.open(client, request.caller.request_id, RequestKind::kDuty);
  drain(core, caller, Milliseconds(message.timeout_ms), message.then == "stop");
}

void handle(Core& core, Client& client, Request request, const contract::Suspend& message) {
  if (!is_administrator(core, client, request, "Suspending the service")) return;
  const Caller caller = core.open(client, request.caller.request_id, RequestKind::kDuty);
  suspend(core, caller, Milliseconds(message.timeout_ms));
}

void handle(Core& core, Client& client, Request request, const contract::Resume&) {
  if (!is_administrator(core, client, request, "Resuming the service")) return;
  const bool was_drained = end_drain(core);
  const bool was_suspended = end_suspension(core);
  retry_engine(core);
  answer_done(client, request,
              was_drained || was_suspended ? "Requests are taken again."
                                           : "Requests were being taken already.");
}

void handle(Core& core, Client& client, Request request, const contract::ClearQuarantine& message) {
  if (!is_administrator(core, client, request, "Clearing the quarantine")) return;
  std::vector<std::string> ids;
  if (message.model.empty()) {
    for (const auto& refusal : core.quarantine.refusals(core.now())) ids.push_back(refusal.model);
  } else {
    for (const Model* model : core.models.named(message.model)) ids.push_back(model->id);
    if (ids.empty()) ids.push_back(message.model);  // the service may have forgotten the model
  }
  std::size_t cleared = 0;
  for (const std::string& id : ids) cleared += core.quarantine.clear(id) ? 1 : 0;
  log::info("{} models have another chance", cleared);
  retry_engine(core);
  answer_done(client, request,
              cleared == 0 ? "Nothing was held against it."
                           : fmt::format("{} {} another chance.", cleared,
                                         cleared == 1 ? "model has" : "models have"));
}

}  // namespace hearth::broker
