// An event loop in a test's hands.
#pragma once

#include <functional>

#include "daemon/broker/net/asio.h"
#include "daemon/broker/ports.h"

namespace hearth::broker {

// Runs the loop until `done`, at most ten seconds.
inline bool run_until(asio::io_context& loop, const std::function<bool()>& done) {
  const TimePoint watchdog = Clock::now() + std::chrono::seconds(10);
  while (!done() && Clock::now() < watchdog) {
    loop.restart();
    loop.run_for(std::chrono::milliseconds(5));
  }
  return done();
}

}  // namespace hearth::broker
