#include "daemon/worker/results.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "shm/base/log.h"

namespace hearth::worker {
namespace {

Error cancelled(std::string_view why) {
  return fail(Code::kCancelled, fmt::format("The request was cancelled: {}.", why));
}

// A tensor without elements has a slot too, so that every tensor of a reply is released alike.
std::vector<std::uint64_t> slot_sizes(const models::Encoding& encoding) {
  std::vector<std::uint64_t> sizes;
  for (const models::HostTensor& tensor : encoding.hidden)
    sizes.push_back(std::max<std::uint64_t>(tensor.bytes.size(), 1));
  return sizes;
}

std::uint64_t bytes_of(const models::Encoding& encoding) {
  std::uint64_t total = 0;
  for (const models::HostTensor& tensor : encoding.hidden) total += tensor.bytes.size();
  return total;
}

contract::Tensor describe(const models::HostTensor& tensor, const SealedSlot& slot) {
  contract::Tensor described;
  described.arena = slot.arena;
  described.offset = slot.offset;
  described.nbytes = tensor.bytes.size();
  described.dtype = name_of(tensor.dtype);
  described.shape = tensor.shape;
  return described;
}

}  // namespace

Results::Results(Link& link, PinnedMemory& pinned, ResultLimits limits,
                 std::function<Clock::time_point()> now)
    : link_(link), pinned_(pinned), limits_(limits), now_(std::move(now)) {}

void Results::assign(std::uint64_t client, std::uint64_t out_bytes) {
  Client& assigned = clients_[client];
  assigned.may_be_lent_bytes = assigned.lent_bytes + out_bytes;
  deliver_waiting(client, assigned);
}

void Results::deliver(Delivery delivery) {
  const auto found = clients_.find(delivery.client);
  if (found == clients_.end()) return delivery.end(cancelled("its client is gone"));
  if (delivery.job->cancelled.load())  // it must not stand behind others that wait
    return delivery.end(cancelled("before its result was copied"));
  Client& client = found->second;
  const std::uint64_t nbytes = bytes_of(delivery.encoding);
  const std::uint64_t needed_bytes = OutArena::bytes_for(slot_sizes(delivery.encoding));
  if (needed_bytes > client.may_be_lent_bytes)
    return delivery.end(no_room(client, nbytes, "it will never fit"));
  if (client.waiting.empty() && try_to_deliver(found->first, client, delivery)) return;
  if (nbytes > limits_.waiting_bytes - client.waiting_bytes)
    return delivery.end(no_room(client, nbytes, "too much is waiting already"));
  client.waiting_bytes += nbytes;
  client.waiting.push_back({std::move(delivery), nbytes, now_()});
}

void Results::cancel(std::uint32_t job) {
  for (auto& [id, client] : clients_) {
    for (std::size_t index = 0; index < client.waiting.size(); ++index) {
      if (client.waiting[index].delivery.job->id != job) continue;
      end_waiting(client, index, cancelled("its result waited for room"));
      return deliver_waiting(id, client);
    }
  }
}

// The broker checks what clients say, so a slot that is not there is a defect; but one that harms
// nobody.
void Results::release(std::uint32_t arena, std::span<const std::uint64_t> offsets) {
  const auto owner = client_of_.find(arena);
  if (owner == client_of_.end())
    return log::warning("out arena {}: there is none to release slots in", arena);
  Client& client = clients_.at(owner->second);
  Lent& lent = *std::find_if(client.arenas.begin(), client.arenas.end(),
                             [&](const Lent& other) { return other.arena->id() == arena; });
  for (const std::uint64_t offset : offsets)
    if (!lent.arena->release(offset))
      log::warning("out arena {}: there is no slot at {} to release", arena, offset);
  if (lent.arena->empty()) lent.empty_since = now_();
  deliver_waiting(owner->second, client);
}

void Results::forget(std::uint64_t client) {
  auto forgotten = clients_.extract(client);
  if (forgotten.empty()) return;
  for (const Lent& lent : forgotten.mapped().arenas) client_of_.erase(lent.arena->id());
  for (Waiting& waiting : forgotten.mapped().waiting)
    waiting.delivery.end(cancelled("its client is gone"));
}

void Results::check() {
  const Clock::time_point now = now_();
  for (auto& [id, client] : clients_) {
    while (!client.waiting.empty() && now - client.waiting.front().since >= limits_.waiting_time) {
      const std::string why = fmt::format(
          "it waited for {} s", std::chrono::duration<double>(limits_.waiting_time).count());
      end_waiting(client, 0, no_room(client, client.waiting.front().nbytes, why));
    }
    deliver_waiting(id, client);
    drop_empty(client, now - limits_.idle_time);
  }
}

bool Results::ages() const {
  return std::any_of(clients_.begin(), clients_.end(), [](const auto& entry) {
    const std::list<Lent>& arenas = entry.second.arenas;
    return !entry.second.waiting.empty() ||
           std::any_of(arenas.begin(), arenas.end(),
                       [](const Lent& lent) { return lent.arena->empty(); });
  });
}

// False: there is no room now, and nothing has happened.
bool Results::try_to_deliver(std::uint64_t id, Client& client, Delivery& delivery) {
  if (delivery.job->cancelled.load()) {
    delivery.end(cancelled("before its result was copied"));
    return true;
  }
  auto slots = acquire(id, client, slot_sizes(delivery.encoding));
  if (slots && !*slots) return false;
  if (slots)
    delivery.end(fill(std::move(delivery.encoding), **std::move(slots)));
  else
    delivery.end(std::move(slots).error());
  return true;
}

void Results::deliver_waiting(std::uint64_t id, Client& client) {
  while (!client.waiting.empty() && try_to_deliver(id, client, client.waiting.front().delivery)) {
    client.waiting_bytes -= client.waiting.front().nbytes;
    client.waiting.pop_front();
  }
}

void Results::end_waiting(Client& client, std::size_t index, const Error& error) {
  const auto waiting = client.waiting.begin() + static_cast<std::ptrdiff_t>(index);
  waiting->delivery.end(error);
  client.waiting_bytes -= waiting->nbytes;
  client.waiting.erase(waiting);
}

// Absent: no room within the budget. Errors: out_of_memory.
Result<std::optional<Results::Slots>> Results::acquire(std::uint64_t id, Client& client,
                                                       const Sizes& sizes) {
  if (auto slots = acquire_lent(client, sizes)) return slots;
  TRY(const bool lent, lend_another(id, client, OutArena::bytes_for(sizes)));
  return lent ? acquire_lent(client, sizes) : std::nullopt;
}

// All or nothing: slots that were acquired before one that does not fit go back by themselves.
std::optional<Results::Slots> Results::acquire_lent(Client& client, const Sizes& sizes) {
  Slots slots;
  for (const std::uint64_t nbytes : sizes) {
    std::optional<WriteSlot> slot;
    for (Lent& lent : client.arenas)
      if (!slot) slot = lent.arena->acquire(nbytes);
    if (!slot) return std::nullopt;
    slots.push_back(*std::move(slot));
  }
  return slots;
}

// Makes a segment with room for `needed_bytes`; where the budget does not reach, segments that are
// empty but too small make way. False: it does not reach even so. Errors: out_of_memory.
Result<bool> Results::lend_another(std::uint64_t id, Client& client, std::uint64_t needed_bytes) {
  std::uint64_t used_bytes = 0;
  for (const Lent& lent : client.arenas)
    if (!lent.arena->empty()) used_bytes += lent.arena->nbytes();
  if (used_bytes + needed_bytes > client.may_be_lent_bytes) return false;
  if (client.lent_bytes + needed_bytes > client.may_be_lent_bytes) drop_empty(client, now_());
  const std::uint64_t nbytes =
      segment_bytes(needed_bytes, client.may_be_lent_bytes - client.lent_bytes);
  TRY(auto arena, OutArena::create(last_arena_ + 1, nbytes));
  ++last_arena_;
  client.lent_bytes += nbytes;
  client_of_.emplace(arena->id(), id);
  std::vector<Fd> fds;
  fds.push_back(arena->take_fd());
  link_.send(0, contract::LendArena{id, arena->id(), nbytes}, std::move(fds));
  auto pin = pinned_.pin(arena->mapped(), models::HostAccess::kReadWrite);
  client.arenas.push_back({std::move(arena), std::move(pin), now_()});
  return true;
}

// The smallest usual size within the budget, or exactly what is needed.
std::uint64_t Results::segment_bytes(std::uint64_t needed_bytes, std::uint64_t budget_bytes) const {
  for (const std::uint64_t times : {1, 4, 16})
    if (const std::uint64_t usual = times * limits_.smallest_segment_bytes; usual >= needed_bytes)
      return usual <= budget_bytes ? usual : needed_bytes;
  return needed_bytes;
}

void Results::drop_empty(Client& client, Clock::time_point empty_since_before) {
  client.arenas.remove_if([&](const Lent& lent) {
    if (!lent.arena->empty() || lent.empty_since > empty_since_before) return false;
    link_.send(0, contract::TakeBackArena{lent.arena->id()});
    client.lent_bytes -= lent.arena->nbytes();
    client_of_.erase(lent.arena->id());
    return true;
  });
}

contract::Encoded Results::fill(models::Encoding encoding, Slots slots) const {
  contract::Encoded reply = std::move(encoding.reply);
  for (std::size_t index = 0; index < slots.size(); ++index) {
    const models::HostTensor& tensor = encoding.hidden[index];
    const std::span<std::byte> room = slots[index].bytes();
    if (!tensor.bytes.empty()) std::memcpy(room.data(), tensor.bytes.data(), tensor.bytes.size());
    reply.receipt.pinned = reply.receipt.pinned && pinned_.covers(room);
    reply.tensors.push_back(describe(tensor, std::move(slots[index]).seal()));
  }
  return reply;
}

Error Results::no_room(const Client& client, std::uint64_t nbytes, std::string_view why) {
  std::uint64_t held_bytes = 0;
  for (const Lent& lent : client.arenas) held_bytes += lent.arena->live_bytes();
  return fail(Code::kOutOfArena,
              fmt::format("A result of {} bytes found no room ({}): unreleased results have {} "
                          "bytes, {} more wait, and {} bytes of shared memory are allowed.",
                          nbytes, why, held_bytes, client.waiting_bytes, client.may_be_lent_bytes));
}

}  // namespace hearth::worker
