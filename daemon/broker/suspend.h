// Before the machine sleeps: the device is released, and requests wait until it is back.
//
// Jobs at work may end for a while; queued and new requests wait and are not refused. Then the
// engine process ends, for no driver is trusted to bring a context through a machine's sleep, and
// pinned memory ends with it: models are cold afterwards, none rests. Jobs that still run then are
// put back to the queue if their callers have got nothing of them, else they end with worker_lost.
// Resuming starts the engine again, which serves what waits.
#pragma once

#include <vector>

#include "daemon/broker/clients.h"

namespace hearth::broker {

struct Core;

struct Suspension {
  enum class Phase {
    kAwake,
    kFinishing,  // jobs at work may end
    kEnding,     // the engine process has been told to end; nothing it says counts
    kAsleep,
  };
  Phase phase = Phase::kAwake;
  TimePoint deadline = TimePoint::max();  // of kFinishing; kEnding: until it is ended by force
  bool wakes_when_ended = false;          // resumed in kEnding
  std::vector<Caller> callers;            // wait for kAsleep

  bool is_on() const { return phase != Phase::kAwake; }
};

// `caller` is an open request of kind kDuty. Suspending again joins, with the later time limit.
void suspend(Core& core, Caller caller, Milliseconds timeout);
// Goes on; who waits for the suspension hears `cancelled`. False: it was not suspended.
bool end_suspension(Core& core);
// Takes the next step: after every input, and when a time is over.
void suspend_tick(Core& core);
// The engine process is gone while the service is suspended, as it was told to or not.
void worker_left(Core& core, const Error& error);

}  // namespace hearth::broker
