#include "daemon/broker/out_arenas.h"

#include <cassert>

namespace hearth::broker {

OutArena& OutArenas::add(OutArena arena) {
  assert(!at_worker_.contains(arena.worker_id));
  total_bytes_ += arena.nbytes;
  at_worker_[arena.worker_id] = arena.id;
  const ArenaId id = arena.id;
  return arenas_.emplace(id, std::move(arena)).first->second;
}

OutArena* OutArenas::find_of(ConnectionId client, ArenaId id) {
  const auto found = arenas_.find(id);
  const bool is_own = found != arenas_.end() && found->second.payer.connection == client;
  return is_own ? &found->second : nullptr;
}

OutArena* OutArenas::find_at_worker(ArenaId worker_id) {
  const auto found = at_worker_.find(worker_id);
  return found == at_worker_.end() ? nullptr : &arenas_.at(found->second);
}

void OutArenas::erase(const OutArena& arena) {
  const ArenaId id = arena.id;
  total_bytes_ -= arena.nbytes;
  results_ -= arena.held.size();
  for (const auto& [offset, nbytes] : arena.held) result_bytes_ -= nbytes;
  if (!arena.orphaned) at_worker_.erase(arena.worker_id);
  arenas_.erase(id);
}

void OutArenas::orphan(OutArena& arena) {
  assert(!arena.orphaned);
  at_worker_.erase(arena.worker_id);
  arena.orphaned = true;
}

void OutArenas::hold(OutArena& arena, std::uint64_t offset, std::uint64_t nbytes) {
  const bool is_new = arena.held.emplace(offset, nbytes).second;
  assert(is_new);
  if (!is_new) return;
  ++results_;
  result_bytes_ += nbytes;
}

bool OutArenas::release(OutArena& arena, std::uint64_t offset) {
  const auto found = arena.held.find(offset);
  if (found == arena.held.end()) return false;
  --results_;
  result_bytes_ -= found->second;
  arena.held.erase(found);
  return true;
}

std::vector<ArenaId> OutArenas::all() const {
  std::vector<ArenaId> ids;
  for (const auto& [id, arena] : arenas_) ids.push_back(id);
  return ids;
}

}  // namespace hearth::broker
