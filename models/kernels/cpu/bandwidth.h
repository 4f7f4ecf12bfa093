// How fast the threads that compute can read memory together: what bounds a decode step, which
// reads every weight once.
//
// A measurement of this machine in this moment, not the modules' name plate: other programs make it
// smaller. Threads: as the team's run(), of which it is one.
#pragma once

#include <chrono>
#include <cstdint>

namespace hearth::kernels::cpu {

// Bytes a second of the best of a few passes over memory that no cache holds (its lines are flushed
// before each). 0: not known, because there was no memory for it, no pass ended within `limit`, or
// this processor has no instruction to flush a line. Takes at most `limit` and the rest of a pass.
std::uint64_t measure_bandwidth(std::chrono::milliseconds limit);

}  // namespace hearth::kernels::cpu
