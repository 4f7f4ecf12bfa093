// Notices clients that still have a socket but nobody behind it: stopped, or stuck.
//
// Only a client with an open request is expected to listen. When it has been silent for a heartbeat
// it is pinged; when it stays silent, its work is dropped after three heartbeats and its connection
// closed some time later. Any frame of it ends the suspicion. One wake-up for all clients.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// The request id of the broker's pings; pongs are taken under any.
inline constexpr std::uint32_t kPingId = 0xFFFF'FFFF;
inline constexpr int kBeatsToStall = 3;

// A frame of this client came.
void heard_from(Core& core, Client& client);
// Looks at all clients when it is time to. Those whose connection is to be closed.
std::vector<ConnectionId> heartbeat_tick(Core& core);

}  // namespace hearth::broker
