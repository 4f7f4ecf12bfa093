#if defined(__x86_64__)

#include "models/kernels/cpu/lanes/headers.h"
#include "models/kernels/cpu/rows.h"

// Headers stay above: what they define is shared with the other levels.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

namespace hearth::kernels::cpu {
namespace {
namespace avx2 {

// clang-format off
#include "models/kernels/cpu/lanes/exp.inc"
#include "models/kernels/cpu/lanes/avx2.inc"
#include "models/kernels/cpu/lanes/norm.inc"
#include "models/kernels/cpu/lanes/attention.inc"
#include "models/kernels/cpu/lanes/attention_part.inc"
#include "models/kernels/cpu/lanes/delta.inc"
#include "models/kernels/cpu/lanes/scan.inc"
#include "models/kernels/cpu/lanes/sample.inc"
// clang-format on

}  // namespace avx2
}  // namespace

const RowFunctions kAvx2Rows = {
    .rms_norm = avx2::rms_norm,
    .swiglu = avx2::swiglu,
    .rope_write = avx2::rope_write,
    .attention_part = avx2::attention_part,
    .attention_join = avx2::attention_join,
    .conv_step = avx2::conv_step,
    .delta_step = avx2::delta_step,
    .draw = avx2::draw,
};

}  // namespace hearth::kernels::cpu

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
