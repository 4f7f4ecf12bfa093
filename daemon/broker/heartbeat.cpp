#include "daemon/broker/heartbeat.h"

#include <algorithm>

#include <fmt/format.h>

#include "daemon/broker/schedule.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

bool is_expected_to_listen(const Client& client) {
  return client.greeted && (client.stalled || !client.open.empty());
}

// When this client's silence comes to mean more than it does now.
TimePoint next_beat(const Core& core, const Client& client) {
  const Milliseconds beat = core.config.heartbeat;
  if (client.stalled) return client.heard + kBeatsToStall * beat + core.config.close_stalled;
  return client.heard + (client.pinged ? kBeatsToStall * beat : beat);
}

Error too_silent(const Core& core) {
  return fail(Code::kCancelled,
              fmt::format("The client has not answered for {} ms, so its work was dropped.",
                          (kBeatsToStall * core.config.heartbeat).count()),
              "Read an answer steadily while it comes, or close it.");
}

// Waiting jobs are dropped, running ones cancelled: it holds nobody up any longer. Its requests end
// at once, so that it reads why when it comes back.
void stall(Core& core, Client& client) {
  log::event(log::Level::kWarning, "client_silent",
             {{"connection", client.id},
              {"client", client.name},
              {"pid", client.peer.pid},
              {"uid", client.peer.uid}},
             "connection {} (pid {}) does not answer; its work is dropped", client.id,
             client.peer.pid);
  client.stalled = true;
  std::vector<JobId> jobs;
  for (const auto& [request_id, request] : client.open)
    if (request.kind == RequestKind::kJob) jobs.push_back(request.job);
  for (const JobId id : jobs) {
    const auto job = core.jobs.find(id);
    if (job != core.jobs.end()) core.fail(job->second.caller, too_silent(core));
    if (job != core.jobs.end()) cancel_job(core, job->second);
  }
}

// We did not run ourselves for a while, stopped or on a machine that was: what clients said in the
// meantime has not been read yet.
void begin_anew(Core& core) {
  for (auto& [id, client] : core.clients) {
    client.heard = core.now() - (client.stalled ? kBeatsToStall : 0) * core.config.heartbeat;
    client.pinged = client.stalled;
  }
}

}  // namespace

void heard_from(Core& core, Client& client) {
  client.heard = core.now();
  client.pinged = false;
  if (std::exchange(client.stalled, false))
    log::info("connection {} (pid {}) answers again", client.id, client.peer.pid);
  if (core.next_heartbeat != TimePoint::max() || core.config.heartbeat.count() == 0) return;
  core.next_heartbeat = client.heard + core.config.heartbeat;
  core.timer.wake_at(core.next_heartbeat);
}

std::vector<ConnectionId> heartbeat_tick(Core& core) {
  std::vector<ConnectionId> given_up;
  // An earlier configuration may have wanted heartbeats; without, every beat would be overdue.
  if (core.config.heartbeat.count() == 0) core.next_heartbeat = TimePoint::max();
  if (core.next_heartbeat == TimePoint::max()) return given_up;
  if (core.now() < core.next_heartbeat) {
    core.timer.wake_at(core.next_heartbeat);
    return given_up;
  }
  if (core.now() - core.next_heartbeat > core.config.heartbeat) begin_anew(core);
  std::vector<ConnectionId> silent;
  for (const auto& [id, client] : core.clients)
    if (is_expected_to_listen(client)) silent.push_back(id);
  // At the latest after a whole beat: who answers now may fall silent at once.
  core.next_heartbeat = silent.empty() ? TimePoint::max() : core.now() + core.config.heartbeat;
  for (const ConnectionId id : silent) {
    Client& client = core.clients.at(id);
    if (core.now() >= next_beat(core, client)) {
      if (client.stalled) {
        given_up.push_back(id);
        continue;
      }
      if (client.pinged) {
        stall(core, client);
      } else {
        client.pinged = true;
        client.port->send(make_frame(kPingId, contract::Ping{}));
      }
    }
    core.next_heartbeat = std::min(core.next_heartbeat, next_beat(core, client));
  }
  if (core.next_heartbeat != TimePoint::max()) core.timer.wake_at(core.next_heartbeat);
  return given_up;
}

}  // namespace hearth::broker
