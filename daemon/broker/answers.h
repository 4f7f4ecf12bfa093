// The last frame of a job: from the worker's terminal frame to what the client gets.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// Whether a frame of this type can end the job.
bool can_end(const Job& job, std::uint8_t frame_type);

// Ends the request of a job that is over, and has left the tables, with `terminal`.
void answer(Core& core, const Job& job, const InFrame& terminal);

}  // namespace hearth::broker
