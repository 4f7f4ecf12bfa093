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

  // How this process was started, without what handover/replace.h put in front of it; an upgrade
  // starts `program` with the same.
  std::string program;
  std::vector<std::string> arguments;
  int take_over = -1;  // the memfd of the state of the process before
};

// Serves until SIGTERM or SIGINT, and is replaced by `program` on SIGUSR2. Errors: what kept it
// from starting.
Result<void> serve(Options options);

}  // namespace hearth::broker
