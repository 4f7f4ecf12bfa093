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
#include "models/kernels/cpu/lanes/attention_part.inc"
#include "models/kernels/cpu/lanes/delta.inc"
#include "models/kernels/cpu/lanes/scan.inc"
#include "models/kernels/cpu/lanes/sample.inc"
// clang-format on

}  // namespace generic
}  // namespace

const RowFunctions kGenericRows = {
    .rms_norm = generic::rms_norm,
    .swiglu = generic::swiglu,
    .rope_write = generic::rope_write,
    .attention_part = generic::attention_part,
    .attention_join = generic::attention_join,
    .conv_step = generic::conv_step,
    .delta_step = generic::delta_step,
    .draw = generic::draw,
};

}  // namespace hearth::kernels::cpu
