// The end of open requests that their clients did not ask for.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// Ends an open request with `error` at once, whatever it is about, and stops what works for it. A
// running job keeps its slots until the worker agrees. Nothing happens when it has ended before.
void end_request(Core& core, Caller caller, const Error& error);

// Of all clients, but for those that wait for the service itself: drain and suspend.
std::vector<Caller> open_work(const Core& core);
// Whether open_work() is empty.
bool is_work_open(const Core& core);

}  // namespace hearth::broker
