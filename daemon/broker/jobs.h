// Generate and encode requests from acceptance to their end.
#pragma once

#include <unordered_map>
#include <vector>

#include "daemon/broker/clients.h"
#include "daemon/broker/fair_queue.h"
#include "daemon/broker/recent.h"

namespace hearth::broker {

struct Job {
  JobId id = 0;
  std::uint8_t type = contract::Generate::kType;  // or encode
  Caller caller;
  std::string model;
  std::string body;  // the request, packed, its model id resolved; emptied when has_spoken
  std::vector<ArenaId> arenas;
  Priority priority = Priority::kInteractive;
  std::int64_t cost_tokens = 1;  // estimated work, as the queue counts it
  bool running = false;
  std::uint32_t slots = 1;       // of the worker: the most that it computes on at once
  std::uint32_t held_slots = 0;  // of these, from dispatch until its result is computed
  bool cancelled = false;        // the worker has been told
  TimePoint arrived;
  TimePoint dispatched;
  TimePoint first_token;     // epoch: none yet
  bool tried_again = false;  // after it lacked memory; see memory_ladder.h
  bool has_spoken =
      false;  // its caller got tokens, or may have changed its tensors: it cannot wait again
  std::uint32_t tokens = 0;  // generated so far, as its events have them
  double load_ms = 0.0;
  bool warm_load = false;
  std::vector<std::string> evicted;  // names of models that left for its own

  static constexpr std::uint64_t kNotTold = ~0ull;
  std::uint64_t told_place = kNotTold;  // jobs ahead of it, as its caller last heard

  RequestKey key;
  std::string result_key;                   // empty: its answer is not cached
  std::uint64_t fingerprint = 0;            // with a key or a result_key: of what was asked
  std::vector<contract::Token> said;        // with a key: its token events, joined to few
  TimePoint left_until = TimePoint::max();  // its caller is gone; until then it may come back
};

using Jobs = std::unordered_map<JobId, Job>;

}  // namespace hearth::broker
