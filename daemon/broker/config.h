// How one broker is set up: values.
//
// Set before it starts; while it runs, reconfigure() (reload.h) alone changes them, those that take
// effect live. So read them where they are used; who must keep a copy is told by reconfigure().
// Where a setting has the value, its default is in daemon/config/table.h and nowhere else.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <unistd.h>

#include "daemon/broker/fair_queue.h"
#include "daemon/broker/recent.h"
#include "daemon/broker/weights_cache.h"
#include "daemon/config/sources.h"
#include "shm/contract/messages.h"

namespace hearth::broker {

// A model to publish.
struct NamedFolder {
  std::string name;
  std::string path;
  std::string dtype = "auto";
};

// How long the engine may go without a step in each phase of its work (liveness.h).
struct SilenceLimits {
  std::chrono::milliseconds attach = config::usual_duration("faults.attach");
  std::chrono::milliseconds load = config::usual_duration("faults.load");
  std::chrono::milliseconds preprocess = config::usual_duration("faults.preprocess");
  std::chrono::milliseconds vision = config::usual_duration("faults.vision");
  std::chrono::milliseconds prefill = config::usual_duration("faults.prefill");
  std::chrono::milliseconds decode = config::usual_duration("faults.decode");
  std::chrono::milliseconds beats = config::usual_duration("faults.beats");  // without any sign
  // vision, prefill and decode may take so many times as long on a CPU
  int cpu_factor = static_cast<int>(config::usual_integer("faults.cpu_factor"));
};

// Of shared memory, where nothing better is known: main.cpp asks the machine.
inline constexpr std::uint64_t kArenaBytes = 8ull << 30;
inline constexpr std::size_t kConnections = 256;  // of all users, at least

struct Config {
  std::string server = "hearthd";  // name and version, as peers see it
  std::string boot_id;

  contract::Limits limits{.frame_bytes = 1024 * 1024,
                          .open_requests = 64,
                          .arenas = 16,
                          .arena_bytes = kArenaBytes,
                          .tensors = 64};
  // Of all connections of one user.
  contract::Quota user{.connections = config::usual_integer("quota.default.connections"),
                       .open_requests = config::usual_integer("quota.default.open_requests"),
                       .arenas = config::usual_integer("quota.default.arenas"),
                       .arena_bytes = kArenaBytes,
                       .tensors = config::usual_integer("quota.default.tensors")};
  std::map<uid_t, contract::Quota> quotas;  // of users who have another one
  std::size_t connections = kConnections;
  std::uint64_t memory_bytes = 0;       // of the device, for models; 0: by its size
  std::uint64_t warm_memory_bytes = 0;  // pinned, for weights of models that rest; 0: none rests
  std::uint64_t result_cache_bytes = config::usual_size("cache.results");
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
  // After which an idle model leaves the device; 0: never.
  std::chrono::milliseconds keep_alive = config::usual_duration("models.keep_alive");
  SilenceLimits silence;
  std::string metrics_file;  // empty: none
  bool log_prompts = false;

  std::chrono::milliseconds return_within{5'000};  // how long a job with a key waits for its caller
  std::chrono::milliseconds heartbeat =
      config::usual_duration("server.heartbeat");  // 0: nobody is pinged
  std::chrono::milliseconds close_stalled{30'000};
  std::chrono::milliseconds hello{2'000};
  std::chrono::milliseconds examine{5'000};  // for looking at a client's files
  std::chrono::milliseconds drain = config::usual_duration("server.drain");
  std::chrono::milliseconds worker_start{60'000};
  std::chrono::milliseconds restart_least{100};
  std::chrono::milliseconds restart_most = config::usual_duration("engine.restart_pause");
  // Ends of the engine process within ten minutes after which it rests for as long; 0: any number.
  std::uint32_t restart_budget = config::usual_integer("engine.restart_budget");
  std::chrono::milliseconds restart_refused{30'000};  // the engine said that it cannot start

  // What the values were made of, and the files it was read from; sources null: tests, which have
  // nothing to read again.
  std::shared_ptr<const config::Sources> sources;
  config::Settings settings;
  std::vector<std::string> files;
};

}  // namespace hearth::broker
