// hello, ping.
#include <algorithm>

#include <fmt/format.h>

#include "daemon/broker/handlers/handlers.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

contract::Welcome welcome_for(const Core& core, const Client& client, std::uint32_t version) {
  contract::Welcome welcome;
  welcome.version = version;
  welcome.server = core.config.server;
  welcome.boot_id = core.config.boot_id;
  welcome.connection = client.id;
  welcome.limits = core.config.limits;
  welcome.heartbeat_ms = static_cast<std::uint32_t>(core.config.heartbeat.count());
  welcome.quota = core.accounts.quota_of(client.peer.uid);
  if (core.supervisor.is_ready()) welcome.devices.push_back(core.engine.device);
  welcome.schema_hash = std::string(contract::kSchemaHash);
  return welcome;
}

Result<std::uint32_t> common_version(const contract::Hello& hello) {
  const std::uint32_t version = std::min(hello.newest, contract::kProtocolVersion);
  if (version >= std::max(hello.oldest, contract::kOldestProtocolVersion)) return version;
  return fail(
      Code::kVersion,
      fmt::format("The client speaks protocol {} to {}, the service {} to {}.", hello.oldest,
                  hello.newest, contract::kOldestProtocolVersion, contract::kProtocolVersion));
}

Result<contract::Hello> read_hello(const InFrame& frame) {
  if (frame.type != contract::Hello::kType || frame.request_id != 0)
    return fail(Code::kBadRequest, "The first message must be hello, with request id 0.");
  return read_body<contract::Hello>(frame);
}

}  // namespace

void greet(Core& core, Client& client, const InFrame& frame) {
  auto hello = read_hello(frame);
  if (!hello) return core.end_connection(client, hello.error());
  const auto version = common_version(*hello);
  if (!version) return core.end_connection(client, version.error());
  if (core.stopped)
    return core.end_connection(client, fail(Code::kShuttingDown, "The service is stopping."));
  client.greeted = true;
  client.name = hello->client;
  client.port->allow_large_frames();
  client.port->send(make_frame(0, welcome_for(core, client, *version)));
  if (is_leaving(core)) client.port->send(make_frame(0, core.goaway()));
  log::event(log::Level::kDebug, "connection_greeted",
             {{"connection", client.id},
              {"client", client.name},
              {"pid", client.peer.pid},
              {"uid", client.peer.uid}},
             "connection {}: {} (pid {})", client.id, printable(client.name), client.peer.pid);
}

void handle(Core&, Client& client, Request request, const contract::Ping&) {
  client.port->send(make_frame(request.caller.request_id, contract::Pong{}));
}

}  // namespace hearth::broker
