// The inputs of a linear as its inner loops read them: normed, rounded to the weights' arithmetic,
// laid out for the loads.
//
// Threads: as cpu/team.h; the memory is the team's shared scratch, until the next kernel.
#pragma once

#include "models/kernels/cpu/linear_job.h"

namespace hearth::kernels::cpu {

LinearJob prepare(const HearthLinear& linear, Layout layout);

}  // namespace hearth::kernels::cpu
