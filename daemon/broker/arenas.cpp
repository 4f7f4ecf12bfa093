#include "daemon/broker/arenas.h"

namespace hearth::broker {

Arena& Arenas::add(ArenaId id, Payer payer, std::uint64_t nbytes, SharedFd fd) {
  Arena arena;
  arena.id = id;
  arena.payer = payer;
  arena.nbytes = nbytes;
  arena.fd = std::move(fd);
  total_bytes_ += nbytes;
  return arenas_.emplace(arena.id, std::move(arena)).first->second;
}

Arena* Arenas::find(ArenaId id) {
  const auto found = arenas_.find(id);
  return found == arenas_.end() ? nullptr : &found->second;
}

Arena* Arenas::find_of(ConnectionId client, ArenaId id) {
  Arena* arena = find(id);
  return arena != nullptr && arena->payer.connection == client && !arena->dropped ? arena : nullptr;
}

void Arenas::erase(ArenaId id) {
  const auto found = arenas_.find(id);
  if (found == arenas_.end()) return;
  total_bytes_ -= found->second.nbytes;
  arenas_.erase(found);
}

void Arenas::worker_gone() {
  for (auto& [id, arena] : arenas_) arena.attached = false;
}

}  // namespace hearth::broker
