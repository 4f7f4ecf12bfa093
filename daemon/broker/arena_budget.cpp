#include "daemon/broker/arena_budget.h"

#include <algorithm>
#include <cassert>

#include <fmt/format.h>

namespace hearth::broker {

Result<void> check_arena(const Core& core, const Client& client, std::uint64_t nbytes) {
  const contract::Limits& limits = core.config.limits;
  if (client.arenas_asked >= limits.arenas)
    return fail(Code::kBusy,
                fmt::format("This connection holds {} arenas, which is all it may have.",
                            client.arenas_asked),
                "Drop an arena or release results first.");
  if (nbytes > left_of(limits.arena_bytes, client.arena_bytes))
    return fail(Code::kBusy,
                fmt::format("{} bytes more would take this connection over {} bytes of arenas.",
                            nbytes, limits.arena_bytes),
                "Drop an arena or release results first, or send less at once.");
  CHECK_OK(core.accounts.check(client.peer.uid, {.arenas = 1, .arena_bytes = nbytes}));
  if (nbytes > left_of(core.config.all_arena_bytes, core.arena_bytes_asked))
    return fail(Code::kBusy, fmt::format("{} bytes more would take all clients together over {} "
                                         "bytes of arenas.",
                                         nbytes, core.config.all_arena_bytes));
  return {};
}

std::uint64_t arena_bytes_left(const Core& core, const Client& client) {
  const contract::Limits& limits = core.config.limits;
  const contract::Quota& quota = core.accounts.quota_of(client.peer.uid);
  const contract::Quota held = core.accounts.held_by(client.peer.uid);
  if (client.arenas_asked >= limits.arenas || held.arenas >= quota.arenas) return 0;
  return std::min({left_of(limits.arena_bytes, client.arena_bytes),
                   left_of(quota.arena_bytes, held.arena_bytes),
                   left_of(core.config.all_arena_bytes, core.arena_bytes_asked)});
}

void count_arena(Core& core, Client& client, std::uint64_t nbytes) {
  ++client.arenas_asked;
  client.arena_bytes += nbytes;
  core.arena_bytes_asked += nbytes;
  core.accounts.acquire(client.peer.uid, {.arenas = 1, .arena_bytes = nbytes});
}

void uncount_arena(Core& core, Payer payer, std::uint64_t nbytes) {
  assert(core.arena_bytes_asked >= nbytes);
  core.arena_bytes_asked -= nbytes;
  core.accounts.release(payer.user, {.arenas = 1, .arena_bytes = nbytes});
  const auto client = core.clients.find(payer.connection);
  if (client == core.clients.end()) return;
  --client->second.arenas_asked;
  client->second.arena_bytes -= nbytes;
}

}  // namespace hearth::broker
