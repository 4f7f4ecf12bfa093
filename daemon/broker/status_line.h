// How the service is and what it does, in one line for people: systemctl status shows it.
#pragma once

#include <string>

#include "daemon/broker/core.h"

namespace hearth::broker {

// The health level, the device, the mode if it is not serving, faults, what is loaded and who is
// there: "WARM on cuda (NVIDIA H200): 2 models, 5.1 of 8.0 GiB, 3 clients, 1 running, 0 waiting",
// "FAILED: The engine does not start: There is no libtorch. 3 clients, 0 running, 2 waiting".
// No names of clients' models, for everybody on the machine can read it.
std::string status_line(Core& core);

}  // namespace hearth::broker
