// The shared memory that clients hold. The broker creates it and hands it on; it never maps it.
#pragma once

#include <unordered_map>

#include "daemon/broker/ports.h"

namespace hearth::broker {

struct Arena {
  ArenaId id = 0;
  ConnectionId owner = 0;
  std::uint64_t nbytes = 0;
  SharedFd fd;
  std::uint32_t jobs = 0;  // open jobs that read from it
  bool dropped = false;    // void for its client; leaves with the last job
  bool attached = false;   // the present worker has it
};

// Ids rise over the whole life of the broker, so the worker needs no connection to tell them apart.
class Arenas {
 public:
  Arena& add(ConnectionId owner, std::uint64_t nbytes, SharedFd fd);
  Arena* find(ArenaId id);
  // The arena if `client` owns it and has not dropped it.
  Arena* find_of(ConnectionId client, ArenaId id);
  void erase(ArenaId id);
  void worker_gone();

  std::size_t size() const { return arenas_.size(); }
  std::uint64_t total_bytes() const { return total_bytes_; }

 private:
  std::unordered_map<ArenaId, Arena> arenas_;
  ArenaId last_id_ = 0;
  std::uint64_t total_bytes_ = 0;
};

}  // namespace hearth::broker
