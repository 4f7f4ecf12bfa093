// Puts the broker's core on an event loop: sockets, signals, timer, engine process.
#pragma once

#include <string>
#include <vector>

#include "daemon/broker/config.h"
#include "daemon/broker/net/worker_process.h"
#include "shm/base/result.h"

namespace hearth::broker {

struct Options {
  std::string socket;
  WorkerCommand worker;
  std::vector<NamedFolder> models;
  Config config;
};

// Serves until SIGTERM or SIGINT. Errors: what kept it from starting.
Result<void> serve(Options options);

}  // namespace hearth::broker
