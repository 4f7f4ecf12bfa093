#include "daemon/broker/broker.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "daemon/broker/ending.h"
#include "daemon/broker/engine_end.h"
#include "daemon/broker/examination.h"
#include "daemon/broker/handlers/handlers.h"
#include "daemon/broker/heartbeat.h"
#include "daemon/broker/idle.h"
#include "daemon/broker/keys.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/places.h"
#include "daemon/broker/published.h"
#include "daemon/broker/reload.h"
#include "daemon/broker/residency.h"
#include "daemon/broker/results.h"
#include "daemon/broker/schedule.h"
#include "daemon/broker/status_line.h"
#include "shm/base/log.h"

namespace hearth::broker {
Broker::Broker(Config config, Ports ports) : core_(std::move(config), ports) {}

Result<void> Broker::publish(const NamedFolder& folder) {
  TRY(PublishedFolder published, open_published(folder));
  const ExaminedFiles& examined = published.examined;
  TRY(Model * model, core_.models.add(examined, folder.name));
  if (std::exchange(model->is_public, true)) return {};
  model->name = folder.name;  // whatever a client calls it
  const auto& pinned = core_.config.pinned_models;
  if (std::find(pinned.begin(), pinned.end(), folder.name) != pinned.end()) model->pinned = true;
  if (!model->files.empty()) return {};  // known from a client, or from before an upgrade
  model->numerics = published.numerics;
  if (core_.config.weights_cache != nullptr && !examined.weights_key.empty())
    model->weights_file = core_.config.weights_cache->find(examined.weights_key);
  model->labels = std::move(published.opened.labels);
  for (Fd& fd : published.opened.fds)
    model->files.push_back(std::make_shared<const Fd>(std::move(fd)));
  log::info("publishing {} ({}) from {}", folder.name, model->id, folder.path);
  return {};
}

void Broker::start() {
  metrics_tick(core_);
  if (auto started = core_.supervisor.start(); !started) end_engine_work(started.error());
}

Result<void> Broker::check_connection(const Peer& peer) const {
  const std::vector<uid_t>& allowed = core_.config.allowed_users;
  if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), peer.uid) == allowed.end())
    return fail(Code::kNotReachable, fmt::format("User {} may not use this service.", peer.uid),
                "Start the service with --allow-uid for this user, or without any, so that the "
                "socket's owner, group and mode decide.");
  if (core_.clients.size() < core_.config.connections)
    return core_.accounts.check(peer.uid, {.connections = 1});
  return fail(Code::kBusy, fmt::format("All {} connections are in use.", core_.config.connections));
}

ConnectionId Broker::connect(ClientPort& port, const Peer& peer) {
  const auto allowed = check_connection(peer);
  const ConnectionId id = ++core_.last_connection;
  Client& client = core_.clients[id];
  client.id = id;
  client.port = &port;
  client.peer = peer;
  client.connected = core_.now();
  client.hello_deadline = core_.now() + core_.config.hello;
  core_.timer.wake_at(client.hello_deadline);
  core_.accounts.acquire(peer.uid, {.connections = 1});
  if (!allowed) core_.end_connection(client, allowed.error());
  remove_if_ended(id);
  return id;
}

void Broker::receive(ConnectionId id, InFrame frame) {
  const auto client = core_.clients.find(id);
  if (client == core_.clients.end()) return;
  const InputWatch watch(core_, contract::name_of_type(frame.type));
  receive_from_client(core_, client->second, std::move(frame));
  remove_if_ended(id);
  upgrade_if_wanted();
  settle();
}

void Broker::violated(ConnectionId id, const Error& error) {
  const auto client = core_.clients.find(id);
  if (client == core_.clients.end()) return;
  if (error.code == Code::kBadRequest) observe_violation(core_, "wire");
  core_.end_connection(client->second, error);
  remove_if_ended(id);
}

void Broker::disconnect(ConnectionId id) {
  forget_client(core_, id);
  settle();
}

bool Broker::awaits_return(ConnectionId id) const {
  return hearth::broker::awaits_return(core_, id);
}

void Broker::process_gone(ConnectionId id) {
  give_up_left_jobs(core_, id);
}

void Broker::remove_if_ended(ConnectionId id) {
  const auto client = core_.clients.find(id);
  if (client != core_.clients.end() && client->second.ended) forget_client(core_, id);
}

void Broker::receive_from_worker(InFrame frame) {
  if (core_.suspension.phase == Suspension::Phase::kEnding) return;
  const std::uint8_t type = frame.type;
  const InputWatch watch(core_, contract::name_of_type(type));
  const bool was_ready = core_.supervisor.is_ready();
  if (!hearth::broker::receive_from_worker(core_, std::move(frame))) {
    observe_violation(core_, "engine");
    end_engine(core_,
               {fmt::format("it sent a {} that makes no sense", contract::name_of_type(type)),
                std::nullopt});
  }
  if (!was_ready && core_.supervisor.is_ready() && worker_ready_) worker_ready_(core_.engine);
  settle();
}

void Broker::worker_cannot_start(const Error& why) {
  log::error("{} {}", why.what, why.hint);
  core_.engine_refusal = why;
  core_.engine_refused = true;
}

void Broker::worker_gone(const std::string& how) {
  const Error told = engine_gone(core_, how);
  if (core_.suspension.is_on()) {
    worker_left(core_, told);
  } else {
    end_engine_work(told);
  }
  settle();
}

void Broker::end_engine_work(const Error& error) {
  jobs_lose_worker(core_, error);
  results_lose_worker(core_);
  models_lose_worker(core_, error);
}

void Broker::tick() {
  const InputWatch watch(core_, "tick");
  metrics_tick(core_);
  if (auto running = core_.supervisor.tick(); !running) {
    // Of a process that is there those who wait hear when it has ended.
    if (core_.supervisor.pid() != 0)
      end_engine(core_, {running.error().what, std::nullopt});
    else
      end_engine_work(running.error());
  }
  liveness_tick(core_);
  greetings_tick();
  offers_tick(core_);
  examinations_tick(core_);
  keys_tick(core_);
  places_tick(core_);
  idle_tick(core_);
  reload_tick(core_);
  heartbeats_tick();
  settle();
}

void Broker::greetings_tick() {
  std::vector<ConnectionId> late;
  for (const auto& [id, client] : core_.clients) {
    if (client.greeted) continue;
    if (core_.now() >= client.hello_deadline) {
      late.push_back(id);
    } else {
      core_.timer.wake_at(client.hello_deadline);
    }
  }
  const Error error =
      fail(Code::kBadRequest, fmt::format("No hello within {} ms.", core_.config.hello.count()));
  for (const ConnectionId id : late) {
    observe_violation(core_, "silent");
    const auto client = core_.clients.find(id);
    if (client != core_.clients.end()) core_.end_connection(client->second, error);
    remove_if_ended(id);
  }
}

void Broker::heartbeats_tick() {
  const std::vector<ConnectionId> given_up = heartbeat_tick(core_);
  const Error error = fail(Code::kNotReachable, "The client has not answered pings for long.");
  for (const ConnectionId id : given_up) violated(id, error);
}

void Broker::stop(const std::string& reason) {
  if (std::exchange(core_.stopping, true)) return;
  log::info("stopping: {}", reason);
  core_.drain_deadline = core_.now() + core_.config.drain;
  core_.timer.wake_at(core_.drain_deadline);
  core_.stop_reason = reason;
  for (auto& [id, client] : core_.clients)
    if (client.greeted) client.port->send(make_frame(0, core_.goaway()));
  stop_tick();
}

void Broker::reload() {
  if (!core_.stopping) reload_soon(core_);
}

bool Broker::is_healthy() {
  return !core_.supervisor.is_overdue(Liveness::kOverdue) &&
         !core_.liveness.is_overdue(core_.now());
}

std::string Broker::status_line() {
  return hearth::broker::status_line(core_);
}

// After every input: what its effects make possible.
void Broker::settle() {
  drain_tick(core_);
  suspend_tick(core_);
  if (std::exchange(core_.stop_wanted, false) && !core_.stopping) {
    stop("it was drained to stop");
    if (stop_) stop_();
  }
  stop_tick();
  core_.models.drop_erased();
}

bool Broker::is_idle() const {
  return !is_work_open(core_) &&
         std::all_of(core_.clients.begin(), core_.clients.end(),
                     [](const auto& entry) { return entry.second.greeted; });
}

void Broker::stop_tick() {
  if (!core_.stopping || core_.stopped) return;
  if (!is_idle() && core_.now() < core_.drain_deadline)
    return core_.timer.wake_at(core_.drain_deadline);
  core_.stopped = true;
  if (is_idle()) finish_drain(core_, "Nothing is open; the service stops.");
  const Error error = fail(Code::kShuttingDown, "The service stopped before the request ended.");
  std::vector<Caller> open;
  for (const auto& [id, client] : core_.clients)
    for (const auto& [request_id, request] : client.open)
      open.push_back({id, request_id, request.serial});
  for (const Caller caller : open) core_.fail(caller, error);
  for (auto& [id, client] : core_.clients) client.port->close();
  core_.supervisor.stop();
  core_.worker.send(make_frame(0, contract::StopWorker{}));
}

}  // namespace hearth::broker
