// What the processor is doing right now, as the kernel's files say: clock, temperature, memory.
//
// What a machine does not tell is absent: a virtual machine announces its nominal frequency as the
// present one, which is not taken for it, and few show a temperature. Power is left out: its
// counters are root's.
//
// Any thread. A reading takes about a millisecond, more on machines with hundreds of cores.
#pragma once

#include <string>

#include "shm/contract/messages.h"

namespace hearth::models {

// `root`: the folder in which proc/ and sys/ are, "/" but in tests.
contract::DeviceState host_state(const std::string& root = "/");

}  // namespace hearth::models
