// Results on their way into shared memory, and the out arenas of every client.
//
// A result is copied into slots of its client's arenas; when none has room, another segment is made
// and lent, as far as the broker's budget for the client reaches. When it reaches no further, the
// result waits in private memory, first come first served, until the client releases others.
//
// Thread rule: one thread, because copying gigabytes takes longer than the link or the engine can
// wait. ResultsThread is that thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/worker/link.h"
#include "daemon/worker/pinned_memory.h"
#include "models/model.h"
#include "shm/out_arena.h"

namespace hearth::worker {

struct ResultLimits {
  std::uint64_t smallest_segment_bytes = std::uint64_t{64} << 20;  // then 4 and 16 times as much
  std::uint64_t waiting_bytes = std::uint64_t{512} << 20;          // of one client
  std::chrono::milliseconds waiting_time{30'000};
  std::chrono::milliseconds idle_time{60'000};     // an empty segment goes after it
  std::chrono::milliseconds check_interval{1000};  // of the two times above
};

// One job's result. `end` is called exactly once, with the reply or the error.
struct Delivery {
  std::uint64_t client = 0;
  std::shared_ptr<models::Job> job;
  models::Encoding encoding;
  std::function<void(Result<contract::Encoded>)> end;
};

class Results {
 public:
  using Clock = models::Clock;

  // `now` is the time by which results and segments age. What it refers to outlives this object.
  Results(Link& link, PinnedMemory& pinned, ResultLimits limits,
          std::function<Clock::time_point()> now);

  // A job of `client` begins; `out_bytes` of segments may still be made for the client.
  void assign(std::uint64_t client, std::uint64_t out_bytes);
  // Errors, through `end`: cancelled, out_of_arena, out_of_memory.
  void deliver(Delivery delivery);
  // Ends what waits for this job, if anything does.
  void cancel(std::uint32_t job);
  void release(std::uint32_t arena, std::span<const std::uint64_t> offsets);
  // Everything of this client is free, and what waits for it ends as cancelled.
  void forget(std::uint64_t client);

  // Ends what has waited too long, and gives back what has been empty too long.
  void check();
  // Whether time alone will give check() anything to do: a segment with results in it can stay so
  // for days.
  bool ages() const;

 private:
  // A segment that its client may read.
  struct Lent {
    std::unique_ptr<OutArena> arena;
    PinnedMemory::Hold pin;  // ends before the arena
    Clock::time_point empty_since;
  };
  struct Waiting {
    Delivery delivery;
    std::uint64_t nbytes;
    Clock::time_point since;
  };
  struct Client {
    std::list<Lent> arenas;
    std::deque<Waiting> waiting;
    std::uint64_t waiting_bytes = 0;
    std::uint64_t lent_bytes = 0;
    std::uint64_t may_be_lent_bytes = 0;  // lent_bytes included
  };
  using Slots = std::vector<WriteSlot>;  // one a tensor
  using Sizes = std::vector<std::uint64_t>;

  // What all of these do, they do to one client; `id` is its key in clients_.
  bool try_to_deliver(std::uint64_t id, Client& client, Delivery& delivery);
  void deliver_waiting(std::uint64_t id, Client& client);
  void end_waiting(Client& client, std::size_t index, const Error& error);
  Result<std::optional<Slots>> acquire(std::uint64_t id, Client& client, const Sizes& sizes);
  static std::optional<Slots> acquire_lent(Client& client, const Sizes& sizes);
  Result<bool> lend_another(std::uint64_t id, Client& client, std::uint64_t needed_bytes);
  std::uint64_t segment_bytes(std::uint64_t needed_bytes, std::uint64_t budget_bytes) const;
  void drop_empty(Client& client, Clock::time_point empty_since_before);
  contract::Encoded fill(models::Encoding encoding, Slots slots) const;
  static Error no_room(const Client& client, std::uint64_t nbytes, std::string_view why);

  Link& link_;
  PinnedMemory& pinned_;
  const ResultLimits limits_;
  const std::function<Clock::time_point()> now_;
  std::map<std::uint64_t, Client> clients_;
  std::unordered_map<std::uint32_t, std::uint64_t> client_of_;  // arena to client
  std::uint32_t last_arena_ = 0;
};

}  // namespace hearth::worker
