// The functions of the ref table: plain loops, fp64 sums: what the others are compared with.
// What each computes, its arguments and its errors: models/kernels/kernels.h.
#pragma once

#include "models/kernels/kernels.h"

namespace hearth::kernels::ref {

#define OPERATION(name, Call) HearthStatus name(const Call* call, void* stream);
#include "models/kernels/operations.def"

}  // namespace hearth::kernels::ref
