// arena_ask, arena_drop.
#include <fmt/format.h>

#include "daemon/broker/handlers/handlers.h"
#include "daemon/broker/schedule.h"
#include "shm/segment.h"

namespace hearth::broker {
namespace {

constexpr std::uint64_t kPageBytes = 4096;

Result<void> check_quota(const Core& core, const Client& client, std::uint64_t nbytes) {
  const contract::Limits& limits = core.config.limits;
  if (client.arenas_asked >= limits.arenas)
    return fail(Code::kBusy,
                fmt::format("This connection holds {} arenas, which is all it may "
                            "have.",
                            client.arenas_asked),
                "Drop an arena first.");
  if (nbytes > limits.arena_bytes - client.arena_bytes)
    return fail(Code::kBusy,
                fmt::format("{} bytes more would take this connection over {} bytes "
                            "of arenas.",
                            nbytes, limits.arena_bytes),
                "Drop an arena first, or send less at once.");
  if (nbytes > core.config.all_arena_bytes - core.arena_bytes_asked)
    return fail(Code::kBusy, fmt::format("{} bytes more would take all clients together over {} "
                                         "bytes of arenas.",
                                         nbytes, core.config.all_arena_bytes));
  return {};
}

void reserve(Core& core, Client& client, std::uint64_t nbytes) {
  ++client.arenas_asked;
  client.arena_bytes += nbytes;
  core.arena_bytes_asked += nbytes;
}

void grant(Core& core, Caller caller, std::uint64_t nbytes, Result<Fd>& segment) {
  // Its pages are given back with the last descriptor, which can take long.
  const SharedFd fd = segment ? core.off_loop.adopt(*std::move(segment)) : nullptr;
  const bool is_awaited = core.find_open(caller) != nullptr;
  if (fd == nullptr || !is_awaited) {
    core.unreserve_arena(caller.connection, nbytes);
    if (is_awaited) core.fail(caller, segment.error());
    return;
  }
  const Arena& arena = core.arenas.add(caller.connection, nbytes, fd);
  core.clients.at(caller.connection).arenas.insert(arena.id);
  contract::ArenaGrant message;
  message.arena = arena.id;
  message.nbytes = nbytes;
  core.reply(caller, message, {fd});
}

}  // namespace

void handle(Core& core, Client& client, Request request, const contract::ArenaAsk& ask) {
  const std::uint64_t nbytes = (ask.nbytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  if (auto allowed = check_quota(core, client, nbytes); !allowed)
    return core.refuse(client, request.caller.request_id, allowed.error());
  const Caller caller = core.open(client, request.caller.request_id, RequestKind::kArena);
  reserve(core, client, nbytes);
  core.off_loop.run(OffLoop::Lane::kMemory, [&core, caller, nbytes] {
    auto segment = std::make_shared<Result<Fd>>(create_segment(nbytes));
    return [&core, caller, nbytes, segment] { grant(core, caller, nbytes, *segment); };
  });
}

void handle(Core& core, Client& client, Request request, const contract::ArenaDrop& drop) {
  const Arena* arena = core.arenas.find_of(client.id, drop.arena);
  if (arena == nullptr)
    return core.refuse(client, request.caller.request_id,
                       fail(Code::kBadRequest,
                            fmt::format("Arena {} is not held by this connection.", drop.arena)));
  client.arenas.erase(drop.arena);
  drop_arena(core, drop.arena);
  client.port->send(make_frame(request.caller.request_id, contract::ArenaDropped{}));
}

}  // namespace hearth::broker
