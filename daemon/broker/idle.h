// Models that nobody has used for a while leave the device (Config::keep_alive), and rest in pinned
// memory if there is room. Pinned ones stay, and so do all where it is 0.
#pragma once

#include <optional>

#include "daemon/broker/core.h"

namespace hearth::broker {

// Somebody's use of the model has begun or ended.
void used(Core& core, Model& model);
// Until it leaves for being idle; nothing when it does not.
std::optional<Milliseconds> leaves_in(Core& core, const Model& model);
// Has those leave whose time is over.
void idle_tick(Core& core);

}  // namespace hearth::broker
