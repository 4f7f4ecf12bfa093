// The end of the engine process: who is to blame, what those who wait are told, whether another one
// is started.
//
// A hang names what it hung in, and that alone is held against its model. Any other end is held
// against all that was at work. One that says of the device that it is gone is not followed by
// another soon: it would say the same.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// Ends the process by force; its end will be told as `verdict` says.
void end_engine(Core& core, Verdict verdict);

// Whether the engine ends a request or a call because it ends itself. Its end, which follows, is
// what those who wait are told of, and what is held against models.
bool is_farewell(Core& core, const InFrame& frame);

// Frames of the worker. False: it makes no sense.
bool engine_beat(Core& core, const InFrame& frame);
bool engine_last_words(Core& core, const InFrame& frame);

// The process is gone, as `how` says, of itself or by end_engine(): blames, and has the supervisor
// start another one, or not. What those who wait are told.
Error engine_gone(Core& core, const std::string& how);

// Looks whether the process still lives, when it is time to.
void liveness_tick(Core& core);

// Starts the engine at once if it has been given up; the past is forgiven.
void retry_engine(Core& core);

}  // namespace hearth::broker
