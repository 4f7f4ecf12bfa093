// What the service does, in one line for people: systemctl status shows it.
#pragma once

#include <string>

#include "daemon/broker/core.h"

namespace hearth::broker {

// "ready on cuda (NVIDIA H200): 2 models loaded, 1 loading, 3 requests running, 0 waiting". No
// names of clients' files, for everybody on the machine can read it.
std::string status_line(const Core& core);

}  // namespace hearth::broker
