// Drained, the service takes no new requests and lets the open ones end: for maintenance, or before
// it stops.
//
// A new request is refused with shutting_down, which clients take as "ask again soon"; what gives
// things back, looks, or looks after the service is served as ever. Who stops waiting for the end
// does not stop the draining. Draining again joins: the later time limit and the later `then`
// count. Kept over an upgrade: all of it but the callers, if their connections are kept.
#pragma once

#include <string_view>
#include <vector>

#include "daemon/broker/clients.h"

namespace hearth::broker {

struct Core;

struct Draining {
  bool is_on = false;
  bool is_done = false;    // nothing is open any more
  bool then_stop = false;  // the service ends once it is done
  TimePoint deadline = TimePoint::max();
  std::vector<Caller> callers;  // wait for it to be done
};

// `caller` is an open request of kind kDuty; it is answered when nothing else is open.
void drain(Core& core, Caller caller, Milliseconds timeout, bool then_stop);
// Takes requests again; who waits hears `cancelled`. False: nothing was being drained.
bool end_drain(Core& core);
// Looks whether it is done: after every input, and when the time is over.
void drain_tick(Core& core);
// Everything has ended for another reason: the service stops.
void finish_drain(Core& core, std::string_view how);

// Errors: shutting_down, while no new requests are taken.
Result<void> check_taking_requests(const Core& core);
// Whether requests are taken, as in status_report.mode. What ends sooner counts: a service that is
// drained and then suspended is suspended.
std::string_view mode_word(const Core& core);
// Whether clients have been told that the service ends.
bool is_leaving(const Core& core);

}  // namespace hearth::broker
