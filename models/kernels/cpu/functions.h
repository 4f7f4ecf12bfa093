// The functions of the cpu table: vector code on the thread team of cpu/team.h.
// What each computes, its arguments and its errors: models/kernels/kernels.h.
#pragma once

#include "models/kernels/kernels.h"

namespace hearth::kernels::cpu {

#define OPERATION(name, Call) HearthStatus name(const Call* call, void* stream);
#include "models/kernels/operations.def"

}  // namespace hearth::kernels::cpu
