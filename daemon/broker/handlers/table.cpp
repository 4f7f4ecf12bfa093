// From a client's frame to its handler.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "daemon/broker/ending.h"
#include "daemon/broker/handlers/handlers.h"
#include "daemon/broker/heartbeat.h"
#include "daemon/broker/keys.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/residency.h"
#include "daemon/broker/results.h"
#include "daemon/broker/schedule.h"

namespace hearth::broker {
namespace {

constexpr int kUnknownToClose = 3;

using Handler = void (*)(Core&, Client&, InFrame);

template <class M>
void decode_and_handle(Core& core, Client& client, InFrame frame) {
  auto message = read_body<M>(frame);
  if (!message) {
    observe_violation(core, "message");
    return core.refuse(client, frame.request_id, message.error());
  }
  Request request{{client.id, frame.request_id}, std::move(frame.fds)};
  handle(core, client, std::move(request), *std::move(message));
}

// Whether a request stays open, and so counts. What ends at once is answered in every state: giving
// things back must be possible to whoever has too much. kUpkeep: it stays open, but gives back or
// looks after the service, and is no new work.
enum class Opens { kNothing, kUpkeep, kRequest };

struct Row {
  std::uint8_t type;
  Opens opens;
  Handler handler;
};

template <class M>
constexpr Row row(Opens opens = Opens::kRequest) {
  return {M::kType, opens, decode_and_handle<M>};
}

constexpr std::array kRows = {
    row<contract::Ping>(Opens::kNothing),
    row<contract::ArenaAsk>(),
    row<contract::ArenaDrop>(Opens::kNothing),
    row<contract::Release>(Opens::kNothing),
    row<contract::OfferModel>(),
    row<contract::LoadModel>(),
    row<contract::UnloadModel>(Opens::kUpkeep),
    row<contract::PlanLoad>(Opens::kNothing),
    row<contract::FreeMemory>(Opens::kUpkeep),
    row<contract::ListModels>(Opens::kNothing),
    row<contract::Status>(Opens::kNothing),
    row<contract::Generate>(),
    row<contract::Encode>(),
    row<contract::CountTokens>(),
    row<contract::ListJobs>(Opens::kNothing),
    row<contract::CancelJob>(Opens::kNothing),
    row<contract::KickClient>(Opens::kNothing),
    row<contract::PinModel>(Opens::kNothing),
    row<contract::EvictModel>(Opens::kUpkeep),
    row<contract::Drain>(Opens::kUpkeep),
    row<contract::Suspend>(Opens::kUpkeep),
    row<contract::Resume>(Opens::kUpkeep),
    row<contract::ClearQuarantine>(Opens::kNothing),
    row<contract::ShowConfig>(Opens::kNothing),
    row<contract::ReloadConfig>(Opens::kUpkeep),
    row<contract::ListRequests>(Opens::kNothing),
    row<contract::Metrics>(Opens::kNothing),
    row<contract::Upgrade>(Opens::kUpkeep),
};

const Row* find_row(std::uint8_t type) {
  const auto* found =
      std::find_if(kRows.begin(), kRows.end(), [&](const Row& row) { return row.type == type; });
  return found == kRows.end() ? nullptr : found;
}

void refuse_unknown(Core& core, Client& client, const InFrame& frame) {
  const bool declared = contract::kind_of_type(frame.type) != contract::Kind::kUnknown;
  const Error error =
      declared
          ? fail(Code::kBadRequest,
                 fmt::format("{} is not for clients to send.", contract::name_of_type(frame.type)))
          : fail(Code::kUnknownMessage, fmt::format("Message type {} is unknown.", frame.type));
  observe_violation(core, "unknown");
  if (++client.unknown_in_a_row >= kUnknownToClose) return core.end_connection(client, error);
  core.refuse(client, frame.request_id, error);
}

// What keeps a request from being opened at all.
Result<void> check_admission(const Core& core, const Client& client, const InFrame& frame,
                             Opens opens) {
  if (frame.request_id == 0 || client.open.contains(frame.request_id))
    return fail(Code::kBadRequest,
                fmt::format("Request id {} is 0 or still in use.", frame.request_id));
  if (opens == Opens::kNothing) return {};
  if (core.stopping || opens == Opens::kRequest) CHECK_OK(check_taking_requests(core));
  if (client.open.size() >= core.config.limits.open_requests)
    return fail(Code::kBusy, fmt::format("{} requests are open on this connection, which is all "
                                         "it may have.",
                                         client.open.size()));
  if (opens == Opens::kUpkeep) return {};
  return core.accounts.check(client.peer.uid, {.open_requests = 1});
}

void handle_greeted(Core& core, Client& client, InFrame frame) {
  if (frame.type == contract::Cancel::kType) return cancel(core, client, frame.request_id);
  if (frame.type == contract::Pong::kType) return;  // it was heard: that is all it is for
  const Row* row = find_row(frame.type);
  if (row == nullptr) return refuse_unknown(core, client, frame);
  client.unknown_in_a_row = 0;
  if (auto admitted = check_admission(core, client, frame, row->opens); !admitted)
    return core.refuse(client, frame.request_id, admitted.error());
  row->handler(core, client, std::move(frame));
}

// Closing a descriptor of a client can block: not on this thread.
void discard(Core& core, std::vector<Fd>& fds) {
  for (Fd& fd : fds) core.off_loop.adopt(std::move(fd));
  fds.clear();
}

}  // namespace

void receive_from_client(Core& core, Client& client, InFrame frame) {
  const bool may_carry = client.greeted && contract::may_carry_descriptors(frame.type) &&
                         find_row(frame.type) != nullptr;
  if (!frame.fds.empty() && !may_carry) {
    discard(core, frame.fds);
    observe_violation(core, "descriptors");
    return core.end_connection(
        client, fail(Code::kBadRequest, "Descriptors came with a message that carries none."));
  }
  heard_from(core, client);
  if (!client.greeted) return greet(core, client, frame);
  handle_greeted(core, client, std::move(frame));
}

void cancel(Core& core, Client& client, std::uint32_t request_id) {
  const auto found = client.open.find(request_id);
  if (found == client.open.end()) return;
  const OpenRequest request = found->second;
  const Caller caller{client.id, request_id, request.serial};
  if (request.kind == RequestKind::kJob) {
    const auto job = core.jobs.find(request.job);
    if (job != core.jobs.end()) cancel_job(core, job->second);
    return;
  }
  const bool is_duty = request.kind == RequestKind::kDuty;
  end_request(core, caller,
              fail(Code::kCancelled,
                   is_duty ? "Nobody waits for it any more; what was begun goes on until resume."
                           : "The request was cancelled."));
}

void forget_client(Core& core, ConnectionId id) {
  auto node = core.clients.extract(id);
  if (node.empty()) return;
  const Client& client = node.mapped();
  const contract::Error gone = to_message(fail(Code::kCancelled, "The client went away."), 0);
  for (const auto& [request_id, request] : client.open) {
    observe_end(core, client, request, &gone);
    core.uncount(client, request);
    const auto job = core.jobs.find(request.job);
    if (request.kind == RequestKind::kJob && job != core.jobs.end()) leave(core, job->second);
  }
  core.queue.forget(id);
  core.accounts.release(client.peer.uid, {.connections = 1});
  forget_results_of(core, client);
  release_models_of(core, id);
  for (const ArenaId arena : client.arenas) drop_arena(core, arena);
}

}  // namespace hearth::broker
