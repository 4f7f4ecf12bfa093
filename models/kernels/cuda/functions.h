// The functions of the cuda table: launches on a stream, nothing waited for.
// What each computes, its arguments and its errors: models/kernels/kernels.h.
#pragma once

#include "models/kernels/kernels.h"

namespace hearth::kernels::cuda {

#define OPERATION(name, Call) HearthStatus name(const Call* call, void* stream);
#include "models/kernels/operations.def"

}  // namespace hearth::kernels::cuda
