#include "daemon/broker/core.h"

#include <algorithm>
#include <cassert>

#include "daemon/broker/observe.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

constexpr std::uint32_t kBusyRetryMs = 100;
constexpr std::uint32_t kStoppingRetryMs = 1000;

// The worker's errors are passed on as they came.
std::optional<contract::Error> error_in(const OutFrame& terminal) {
  if (terminal.type != contract::Error::kType) return std::nullopt;
  auto error = contract::unpack<contract::Error>(bytes_of(terminal.body));
  return error ? *std::move(error) : to_message(fail(Code::kInternal, error.error().what), 0);
}

}  // namespace

Core::Core(Config config_values, Ports ports)
    : config_(std::move(config_values)),
      worker(ports.worker),
      timer(ports.timer),
      off_loop(ports.off_loop),
      started(ports.timer.now()),
      started_unix_ms(unix_ms()),
      accounts(config.user, config.quotas),
      queue(config.queue),
      recent(config.recent),
      results(config.result_cache_bytes),
      supervisor(config, ports.worker, ports.timer) {}

void Core::reconfigure(Config next) {
  config_ = std::move(next);
  accounts.set_quotas(config.user, config.quotas);
  results.set_budget(config.result_cache_bytes);
}

JobId Core::next_job_id() {
  do {
    ++last_job;
  } while (last_job == 0 || jobs.contains(last_job) || model_calls.contains(last_job) ||
           counts.contains(last_job));
  return last_job;
}

contract::Goaway Core::goaway() {
  contract::Goaway message;
  const TimePoint end = stopping ? drain_deadline : draining.deadline;
  const auto left = std::chrono::ceil<Milliseconds>(end - now());
  message.drain_ms = static_cast<std::uint32_t>(std::max<std::int64_t>(left.count(), 0));
  message.reason = stopping ? stop_reason : "an administrator drains the service and ends it";
  return message;
}

Caller Core::open(Client& client, std::uint32_t request_id, RequestKind kind,
                  std::uint32_t tensors) {
  OpenRequest request;
  request.kind = kind;
  request.tensors = tensors;
  request.serial = ++last_request;
  request.opened = now();
  assert(!client.open.contains(request_id));
  client.open[request_id] = request;
  accounts.acquire(client.peer.uid, {.open_requests = 1, .tensors = tensors});
  return {client.id, request_id, request.serial};
}

OpenRequest* Core::find_open(Caller caller) {
  const auto client = clients.find(caller.connection);
  if (client == clients.end()) return nullptr;
  const auto request = client->second.open.find(caller.request_id);
  if (request == client->second.open.end()) return nullptr;
  const bool is_other = caller.serial != 0 && caller.serial != request->second.serial;
  return is_other ? nullptr : &request->second;
}

void Core::finish(Caller caller, OutFrame terminal) {
  const OpenRequest* request = find_open(caller);
  if (request == nullptr) return;
  Client& client = clients.at(caller.connection);
  if (request->kind == RequestKind::kJob) {
    const bool is_error = terminal.type == contract::Error::kType;
    ++(is_error ? failed : served);
    ++(is_error ? client.failed : client.served);
  }
  const std::optional<contract::Error> error = error_in(terminal);
  observe_end(*this, client, *request, error ? &*error : nullptr);
  uncount(client, *request);
  client.open.erase(caller.request_id);
  client.port->send(std::move(terminal));
}

void Core::fail(Caller caller, const Error& error) {
  finish(caller, make_frame(caller.request_id, to_message(error, retry_after_ms(error.code))));
}

void Core::event(Caller caller, OutFrame frame) {
  if (find_open(caller) == nullptr) return;
  frame.request_id = caller.request_id;
  clients.at(caller.connection).port->send(std::move(frame));
}

void Core::refuse(Client& client, std::uint32_t request_id, const Error& error) {
  if (request_id == 0 || client.open.contains(request_id)) return end_connection(client, error);
  client.port->send(make_frame(request_id, to_message(error, retry_after_ms(error.code))));
}

void Core::end_connection(Client& client, const Error& error) {
  if (client.ended) return;
  client.ended = true;
  log::event(log::Level::kInfo, "connection_closed",
             {{"connection", client.id},
              {"client", client.name},
              {"pid", client.peer.pid},
              {"uid", client.peer.uid},
              {"code", name_of(error.code)}},
             "connection {} (pid {}) is closed: {}", client.id, client.peer.pid,
             printable(error.what));
  client.port->send(make_frame(0, to_message(error, retry_after_ms(error.code))));
  client.port->close();
}

void Core::uncount(const Client& client, const OpenRequest& request) {
  accounts.release(client.peer.uid, {.open_requests = 1, .tensors = request.tensors});
}

std::uint32_t Core::retry_after_ms(Code code) const {
  switch (code) {
    case Code::kBusy:
      return kBusyRetryMs;
    case Code::kWorkerLost:
      return static_cast<std::uint32_t>(supervisor.restart_delay().count());
    case Code::kShuttingDown:
      return kStoppingRetryMs;
    default:
      return 0;
  }
}

double milliseconds_between(TimePoint from, TimePoint to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

std::uint64_t unix_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<Milliseconds>(now).count());
}

}  // namespace hearth::broker
