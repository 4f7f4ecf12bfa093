// The shared memory that clients write: direction in. The broker creates it and hands it on; it
// never maps it.
#pragma once

#include <unordered_map>

#include "daemon/broker/ports.h"

namespace hearth::broker {

// In whose name memory counts. The connection may be gone before its memory.
struct Payer {
  ConnectionId connection = 0;
  uid_t user = 0;
};

struct Arena {
  ArenaId id = 0;
  Payer payer;
  std::uint64_t nbytes = 0;
  SharedFd fd;
  std::uint32_t jobs = 0;  // open jobs that read from it
  bool dropped = false;    // void for its client; leaves with the last job
  bool attached = false;   // the present worker has it
};

class Arenas {
 public:
  Arena& add(ArenaId id, Payer payer, std::uint64_t nbytes, SharedFd fd);
  Arena* find(ArenaId id);
  // The arena if `client` owns it and has not dropped it.
  Arena* find_of(ConnectionId client, ArenaId id);
  void erase(ArenaId id);
  void worker_gone();

  std::size_t size() const { return arenas_.size(); }
  std::uint64_t total_bytes() const { return total_bytes_; }

 private:
  friend struct handover::Access;
  std::unordered_map<ArenaId, Arena> arenas_;
  std::uint64_t total_bytes_ = 0;
};

}  // namespace hearth::broker
