// arena_ask, arena_drop.
#include <fmt/format.h>

#include "daemon/broker/arena_budget.h"
#include "daemon/broker/handlers/handlers.h"
#include "daemon/broker/schedule.h"
#include "shm/segment.h"

namespace hearth::broker {
namespace {

constexpr std::uint64_t kPageBytes = 4096;

void grant(Core& core, Caller caller, Payer payer, Result<Fd>& segment, std::uint64_t nbytes) {
  // Its pages are given back with the last descriptor, which can take long.
  const SharedFd fd = segment ? core.off_loop.adopt(*std::move(segment)) : nullptr;
  const bool is_awaited = core.find_open(caller) != nullptr;
  if (fd == nullptr || !is_awaited) {
    uncount_arena(core, payer, nbytes);
    if (is_awaited) core.fail(caller, segment.error());
    return;
  }
  const Arena& arena = core.arenas.add(++core.last_arena, payer, nbytes, fd);
  core.clients.at(caller.connection).arenas.insert(arena.id);
  contract::ArenaGrant message;
  message.arena = arena.id;
  message.nbytes = nbytes;
  core.reply(caller, message, {fd});
}

}  // namespace

void handle(Core& core, Client& client, Request request, const contract::ArenaAsk& ask) {
  const std::uint64_t nbytes = (ask.nbytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  if (auto allowed = check_arena(core, client, nbytes); !allowed)
    return core.refuse(client, request.caller.request_id, allowed.error());
  const Caller caller = core.open(client, request.caller.request_id, RequestKind::kArena);
  count_arena(core, client, nbytes);
  core.off_loop.run(OffLoop::Lane::kMemory, [&core, caller, payer = payer_of(client), nbytes] {
    auto segment = std::make_shared<Result<Fd>>(create_segment(nbytes));
    return
        [&core, caller, payer, segment, nbytes] { grant(core, caller, payer, *segment, nbytes); };
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
