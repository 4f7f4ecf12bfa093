// The connected clients and the requests they have open.
//
// A request is open from its acceptance to its one terminal frame; whoever ends it removes it here
// first, so that a second terminal frame cannot be sent.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <unordered_map>

#include "daemon/broker/ports.h"

namespace hearth::broker {

// Where an answer goes. Both may be gone by then, and a request id in use again by another request:
// what answers later than its input holds the serial as well.
struct Caller {
  ConnectionId connection = 0;
  std::uint32_t request_id = 0;
  std::uint64_t serial = 0;  // of the OpenRequest; 0: whatever is open under the id
  bool operator==(const Caller&) const = default;
};

// kDuty: it waits for the service itself, to be drained, suspended or upgraded.
enum class RequestKind { kArena, kOffer, kLoad, kUnload, kFree, kCount, kJob, kDuty, kReload };

struct OpenRequest {
  RequestKind kind = RequestKind::kJob;
  std::uint64_t serial = 0;       // different for every request of the broker's life
  std::string model;              // kOffer (once known), kLoad, kUnload, kCount
  JobId job = 0;                  // kJob, kLoad, kCount: as list_jobs names it
  std::uint32_t tensors = 0;      // kJob: of its input and its result, in its user's account
  std::uint64_t arena_bytes = 0;  // kArena: reserved until the segment exists
  OffLoop::Ticket ticket = 0;     // kOffer: while its files are examined
  TimePoint deadline = TimePoint::max();
  TimePoint opened;
  // Of a request that is kept in the records (observe.h); else empty.
  std::string operation;
  std::string observed_model;                // id; empty: of none that is known
  std::optional<contract::Receipt> receipt;  // what is known of it so far
};

struct Client {
  ConnectionId id = 0;
  ClientPort* port = nullptr;
  Peer peer;
  std::string name;
  bool greeted = false;
  bool ended = false;  // the connection has been given up; removed after the current input
  TimePoint connected;
  TimePoint hello_deadline;
  int unknown_in_a_row = 0;
  TimePoint heard;       // its last frame came
  bool pinged = false;   // and has not been heard since
  bool stalled = false;  // it does not answer pings; its work has been dropped
  std::unordered_map<std::uint32_t, OpenRequest> open;
  std::set<ArenaId> arenas;            // of direction in
  std::set<ArenaId> out_arenas;        // with results; also those of a lost worker
  bool known_to_worker = false;        // the present worker may make out arenas for it
  std::uint32_t arenas_asked = 0;      // both directions, granted and pending
  std::uint64_t arena_bytes = 0;       // of these
  std::uint64_t served = 0;            // generate and encode requests that ended with a reply
  std::uint64_t failed = 0;            // and with an error
  std::uint64_t generated_tokens = 0;  // in its replies
};

using Clients = std::unordered_map<ConnectionId, Client>;

}  // namespace hearth::broker
