#include "models/kernels/cpu/lanes/headers.h"
#include "models/kernels/cpu/rows.h"

namespace hearth::kernels::cpu {
namespace {
namespace generic {

// clang-format off
#include "models/kernels/cpu/lanes/exp.inc"
#include "models/kernels/cpu/lanes/generic.inc"
#include "models/kernels/cpu/lanes/norm.inc"
#include "models/kernels/cpu/lanes/attention.inc"
#include "models/kernels/cpu/lanes/rows.inc"
// clang-format on

}  // namespace generic
}  // namespace

const RowFunctions kGenericRows = generic::kRows;

}  // namespace hearth::kernels::cpu
