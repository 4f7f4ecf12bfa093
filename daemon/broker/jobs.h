// Generate and encode requests from acceptance to their end.
#pragma once

#include <unordered_map>
#include <vector>

#include "daemon/broker/clients.h"

namespace hearth::broker {

struct Job {
  JobId id = 0;
  std::uint8_t type = contract::Generate::kType;  // or encode
  Caller caller;
  std::string model;
  std::string body;  // the request, packed, its model id resolved; emptied when dispatched
  std::vector<ArenaId> arenas;
  bool running = false;
  bool cancelled = false;  // the worker has been told
  TimePoint arrived;
  TimePoint dispatched;
  TimePoint first_token;  // epoch: none yet
  double load_ms = 0.0;
};

using Jobs = std::unordered_map<JobId, Job>;

}  // namespace hearth::broker
