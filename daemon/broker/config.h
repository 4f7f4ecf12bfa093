// How one broker is set up. Values, set once before it starts.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <unistd.h>

#include "daemon/broker/fair_queue.h"
#include "daemon/broker/recent.h"
#include "daemon/broker/weights_cache.h"
#include "shm/contract/messages.h"

namespace hearth::broker {

struct NamedFolder {
  std::string name;
  std::string path;
};

// Of shared memory, where nothing better is known: main.cpp asks the machine.
inline constexpr std::uint64_t kArenaBytes = 8ull << 30;

struct Config {
  std::string server = "hearthd";  // name and version, as peers see it
  std::string boot_id;

  contract::Limits limits{.frame_bytes = 1024 * 1024,
                          .open_requests = 64,
                          .arenas = 16,
                          .arena_bytes = kArenaBytes,
                          .tensors = 64};
  // Of all connections of one user.
  contract::Quota user{.connections = 128,
                       .open_requests = 512,
                       .arenas = 256,
                       .arena_bytes = kArenaBytes,
                       .tensors = 8192};
  std::size_t connections = 256;
  std::uint64_t memory_bytes = 0;       // of the device, for models; 0: by its size
  std::uint64_t warm_memory_bytes = 0;  // pinned, for weights of models that rest; 0: none rests
  std::uint64_t result_cache_bytes = 64u << 20;
  std::shared_ptr<const WeightsCache> weights_cache;  // null: rounded weights are not kept on disk
  std::size_t models_held = 64;                       // by one connection
  std::size_t model_files = 4096;                     // open at once, of all clients
  std::uint64_t all_arena_bytes = kArenaBytes;        // of all clients

  FairQueue::Rules queue;
  Recent::Rules recent;
  std::vector<uid_t> allowed_users;  // empty: whoever can open the socket
  // Who may look after the service, beside root; see rights.h.
  uid_t own_user = geteuid();
  std::vector<uid_t> admins;
  std::optional<gid_t> admin_group;
  std::vector<std::string> pinned_models;  // names of published ones that are pinned from the start
  std::chrono::milliseconds keep_alive{0};  // after which an idle model leaves the device; 0: never

  std::chrono::milliseconds return_within{5'000};  // how long a job with a key waits for its caller
  std::chrono::milliseconds heartbeat{10'000};     // 0: nobody is pinged
  std::chrono::milliseconds close_stalled{30'000};
  std::chrono::milliseconds hello{2'000};
  std::chrono::milliseconds examine{5'000};  // for looking at a client's files
  std::chrono::milliseconds drain{1'500};    // for open requests when the service stops
  std::chrono::milliseconds worker_start{60'000};
  std::chrono::milliseconds restart_least{100};
  std::chrono::milliseconds restart_most{5'000};
  std::chrono::milliseconds restart_refused{30'000};  // the engine said that it cannot start
};

}  // namespace hearth::broker
