// How much shared memory there may be: counted by connection, by user and for all clients together,
// both directions alike, from the moment it is asked for until its last use has ended.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

inline Payer payer_of(const Client& client) {
  return {client.id, client.peer.uid};
}

// Errors: busy, naming the limit that one more arena of `nbytes` would pass.
Result<void> check_arena(const Core& core, const Client& client, std::uint64_t nbytes);
// Bytes of arenas that may still come for this client; 0 when it may have no further arena.
std::uint64_t arena_bytes_left(const Core& core, const Client& client);

void count_arena(Core& core, Client& client, std::uint64_t nbytes);
// The payer's connection may be gone.
void uncount_arena(Core& core, Payer payer, std::uint64_t nbytes);

}  // namespace hearth::broker
