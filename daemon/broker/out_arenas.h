// The shared memory with results: direction out. The worker creates, fills and allocates it; the
// broker knows which client it lent which arena to, and which results in it are not yet released.
//
// An arena goes when its worker takes it back, or with its client. When its worker is lost while
// results in it are held, it stays, `orphaned`, until they are released: the client still maps it,
// and hears that it is gone only then.
#pragma once

#include <map>
#include <unordered_map>
#include <vector>

#include "daemon/broker/arenas.h"

namespace hearth::broker {

struct OutArena {
  ArenaId id = 0;         // the broker's: what clients see
  ArenaId worker_id = 0;  // the present worker's
  Payer payer;
  std::uint64_t nbytes = 0;
  bool orphaned = false;                        // its worker is gone
  std::map<std::uint64_t, std::uint64_t> held;  // results not released: offset to bytes
};

class OutArenas {
 public:
  // `worker_id` must not be in use.
  OutArena& add(OutArena arena);
  // Null where there is none, or it is another client's.
  OutArena* find_of(ConnectionId client, ArenaId id);
  OutArena* find_at_worker(ArenaId worker_id);
  // `arena` is void afterwards; what is held in it is held no more.
  void erase(const OutArena& arena);
  // Its worker is gone and may not be told of it any more.
  void orphan(OutArena& arena);

  void hold(OutArena& arena, std::uint64_t offset, std::uint64_t nbytes);
  // False: no result that is held begins at `offset`.
  bool release(OutArena& arena, std::uint64_t offset);

  std::vector<ArenaId> all() const;
  OutArena& at(ArenaId id) { return arenas_.at(id); }
  const OutArena& at(ArenaId id) const { return arenas_.at(id); }
  std::size_t size() const { return arenas_.size(); }
  std::uint64_t total_bytes() const { return total_bytes_; }
  std::size_t results() const { return results_; }  // held, of all clients
  std::uint64_t result_bytes() const { return result_bytes_; }

 private:
  friend struct handover::Access;
  std::unordered_map<ArenaId, OutArena> arenas_;
  std::unordered_map<ArenaId, ArenaId> at_worker_;  // the worker's id to ours
  std::uint64_t total_bytes_ = 0;
  std::size_t results_ = 0;
  std::uint64_t result_bytes_ = 0;
};

}  // namespace hearth::broker
