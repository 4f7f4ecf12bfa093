#include "daemon/broker/results.h"

#include <cassert>
#include <map>
#include <set>

#include <fmt/format.h>

#include "daemon/broker/arena_budget.h"
#include "shm/base/log.h"
#include "shm/tensor.h"

namespace hearth::broker {
namespace {

using OffsetsByArena = std::map<ArenaId, std::vector<std::uint64_t>>;  // of the worker

void send_releases(Core& core, const OffsetsByArena& released) {
  for (const auto& [worker_id, offsets] : released) {
    contract::ReleaseSlots message;
    message.arena = worker_id;
    message.offsets = offsets;
    core.worker.send(make_frame(0, message));
  }
}

// Takes the arena, and what is held in it, out of every count.
void erase(Core& core, const OutArena& arena) {
  const Payer payer = arena.payer;
  const auto n_held = static_cast<std::uint32_t>(arena.held.size());
  core.accounts.release(payer.user, {.tensors = n_held});
  uncount_arena(core, payer, arena.nbytes);
  const auto client = core.clients.find(payer.connection);
  if (client != core.clients.end()) client->second.out_arenas.erase(arena.id);
  core.out_arenas.erase(arena);
}

void tell_gone(Core& core, const OutArena& arena) {
  const auto client = core.clients.find(arena.payer.connection);
  if (client == core.clients.end() || core.stopped) return;
  contract::OutArenaGone message;
  message.arena = arena.id;
  client->second.port->send(make_frame(0, message));
}

// Its client is told only now that nothing in it is held: what it was told of before, it can still
// read and release, also a reply that it has not got to yet.
void drop_empty(Core& core, const OutArena& arena) {
  assert(arena.held.empty());
  tell_gone(core, arena);
  erase(core, arena);
}

// Errors: which tensor is not what the worker may hand to `client`.
Result<void> check_results(Core& core, ConnectionId client,
                           const std::vector<contract::Tensor>& tensors) {
  std::set<std::pair<ArenaId, std::uint64_t>> named;
  for (const contract::Tensor& tensor : tensors) {
    const OutArena* arena = core.out_arenas.find_at_worker(tensor.arena);
    if (arena == nullptr || arena->payer.connection != client)
      return fail(Code::kInternal,
                  fmt::format("The engine answered with memory (arena {}) that it did not lend to "
                              "this client.",
                              tensor.arena));
    if (auto inside = check_descriptor(tensor, arena->nbytes); !inside)
      return fail(Code::kInternal,
                  fmt::format("The engine answered with a bad tensor: {}", inside.error().what));
    if (arena->held.contains(tensor.offset) || !named.emplace(tensor.arena, tensor.offset).second)
      return fail(Code::kInternal,
                  fmt::format("The engine answered with memory that is in use (offset {}).",
                              tensor.offset));
  }
  return {};
}

Result<void> check_slots(Core& core, const Client& client,
                         const std::vector<contract::Slot>& slots) {
  std::set<std::pair<ArenaId, std::uint64_t>> named;
  for (const contract::Slot& slot : slots) {
    const OutArena* arena = core.out_arenas.find_of(client.id, slot.arena);
    if (arena == nullptr || !arena->held.contains(slot.offset))
      return fail(Code::kBadRequest,
                  fmt::format("This connection holds no result at offset {} of arena {}.",
                              slot.offset, slot.arena));
    if (!named.emplace(slot.arena, slot.offset).second)
      return fail(Code::kBadRequest,
                  fmt::format("Offset {} of arena {} is named twice.", slot.offset, slot.arena));
  }
  return {};
}

void note_budget(const Core& core, const Client& client, std::uint64_t nbytes) {
  if (nbytes <= arena_bytes_left(core, client)) return;
  log::warning("the engine made {} bytes of results for connection {}, which may have {} more",
               nbytes, client.id, arena_bytes_left(core, client));
}

}  // namespace

void assign(Core& core, const Job& job) {
  Client& client = core.clients.at(job.caller.connection);
  client.known_to_worker = true;
  contract::AssignJob message;
  message.user = client.peer.uid;
  message.client = client.id;
  message.out_bytes = arena_bytes_left(core, client);
  core.worker.send(make_frame(job.id, message));
}

bool lend_arena(Core& core, InFrame frame) {
  std::vector<SharedFd> fds;  // closed off the loop: their pages may go with them
  for (Fd& fd : frame.fds) fds.push_back(core.off_loop.adopt(std::move(fd)));
  const auto lent = read_body<contract::LendArena>(frame);
  if (!lent || fds.size() != 1 || core.out_arenas.find_at_worker(lent->arena) != nullptr)
    return false;
  const auto found = core.clients.find(lent->client);
  // The worker has been, or never needed to be, told that this client is gone: what it made in the
  // meantime goes with the client.
  if (found == core.clients.end()) return lent->client <= core.last_connection;
  Client& client = found->second;
  if (!client.known_to_worker) return false;
  if (core.stopped) return true;  // the last frame has been sent
  note_budget(core, client, lent->nbytes);
  OutArena made;
  made.id = ++core.last_arena;
  made.worker_id = lent->arena;
  made.payer = payer_of(client);
  made.nbytes = lent->nbytes;
  const OutArena& arena = core.out_arenas.add(std::move(made));
  count_arena(core, client, arena.nbytes);
  client.out_arenas.insert(arena.id);
  contract::OutArena message;
  message.arena = arena.id;
  message.nbytes = arena.nbytes;
  client.port->send(make_frame(0, message, std::move(fds)));
  return true;
}

bool take_back_arena(Core& core, const InFrame& frame) {
  const auto taken = read_body<contract::TakeBackArena>(frame);
  if (!taken) return false;
  const OutArena* arena = core.out_arenas.find_at_worker(taken->arena);
  if (arena == nullptr) return true;  // its client is gone, which the worker learns next
  if (!arena->held.empty()) return false;
  drop_empty(core, *arena);
  return true;
}

Result<void> hand_over(Core& core, const Job& job, std::vector<contract::Tensor>& tensors) {
  Client& client = core.clients.at(job.caller.connection);
  if (auto good = check_results(core, client.id, tensors); !good) {
    return_unwanted(core, tensors);
    return good;
  }
  for (contract::Tensor& tensor : tensors) {
    OutArena& arena = *core.out_arenas.find_at_worker(tensor.arena);
    core.out_arenas.hold(arena, tensor.offset, tensor.nbytes);
    tensor.arena = arena.id;
  }
  core.accounts.acquire(client.peer.uid, {.tensors = static_cast<std::uint32_t>(tensors.size())});
  return {};
}

// What a client holds stays its own, even if the worker names it a second time.
void return_unwanted(Core& core, const std::vector<contract::Tensor>& tensors) {
  std::set<std::pair<ArenaId, std::uint64_t>> named;
  OffsetsByArena unwanted;
  for (const contract::Tensor& tensor : tensors) {
    const OutArena* arena = core.out_arenas.find_at_worker(tensor.arena);
    if (arena == nullptr || arena->held.contains(tensor.offset)) continue;
    if (named.emplace(tensor.arena, tensor.offset).second)
      unwanted[tensor.arena].push_back(tensor.offset);
  }
  send_releases(core, unwanted);
}

Result<void> release_slots(Core& core, Client& client, const std::vector<contract::Slot>& slots) {
  CHECK_OK(check_slots(core, client, slots));
  OffsetsByArena at_worker;
  for (const contract::Slot& slot : slots) {
    OutArena& arena = *core.out_arenas.find_of(client.id, slot.arena);
    core.out_arenas.release(arena, slot.offset);
    core.accounts.release(client.peer.uid, {.tensors = 1});
    if (!arena.orphaned) {
      at_worker[arena.worker_id].push_back(slot.offset);
    } else if (arena.held.empty()) {
      drop_empty(core, arena);
    }
  }
  send_releases(core, at_worker);
  return {};
}

void forget_results_of(Core& core, const Client& client) {
  for (const ArenaId id : client.out_arenas) erase(core, core.out_arenas.at(id));
  if (!client.known_to_worker) return;
  contract::ForgetClient message;
  message.client = client.id;
  core.worker.send(make_frame(0, message));
}

void results_lose_worker(Core& core) {
  for (auto& [id, client] : core.clients) client.known_to_worker = false;
  for (const ArenaId id : core.out_arenas.all()) {
    OutArena& arena = core.out_arenas.at(id);
    if (arena.orphaned) continue;
    core.out_arenas.orphan(arena);
    if (arena.held.empty()) drop_empty(core, arena);
  }
}

}  // namespace hearth::broker
