// The inputs of a linear as its inner loops read them: normed, rounded to the weights' arithmetic,
// laid out for the loads.
//
// Threads: prepare() as cpu/team.h, in the team's shared scratch, until the next kernel;
// prepare_alone() computes in the calling thread, any number of them at once.
#pragma once

#include "models/kernels/cpu/linear_job.h"

namespace hearth::kernels::cpu {

LinearJob prepare(const HearthLinear& linear, Layout layout);

// In `memory`, prepared_bytes() on a 64-byte border.
LinearJob prepare_alone(const HearthLinear& linear, Layout layout, void* memory);
std::size_t prepared_bytes(const HearthLinear& linear, Layout layout);

}  // namespace hearth::kernels::cpu
