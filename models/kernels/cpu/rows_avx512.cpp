#if defined(__x86_64__)

#include "models/kernels/cpu/lanes/headers.h"
#include "models/kernels/cpu/rows.h"

// Headers stay above: what they define is shared with the other levels.
#if defined(__clang__)
#pragma clang attribute push(                                                    \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")
#endif

namespace hearth::kernels::cpu {
namespace {
namespace avx512 {

// clang-format off
#include "models/kernels/cpu/lanes/exp.inc"
#include "models/kernels/cpu/lanes/avx512.inc"
#include "models/kernels/cpu/lanes/norm.inc"
#include "models/kernels/cpu/lanes/attention.inc"
#include "models/kernels/cpu/lanes/attention_part.inc"
#include "models/kernels/cpu/lanes/delta.inc"
#include "models/kernels/cpu/lanes/scan.inc"
#include "models/kernels/cpu/lanes/sample.inc"
// clang-format on

}  // namespace avx512
}  // namespace

const RowFunctions kAvx512Rows = {
    .rms_norm = avx512::rms_norm,
    .swiglu = avx512::swiglu,
    .rope_write = avx512::rope_write,
    .attention_part = avx512::attention_part,
    .attention_join = avx512::attention_join,
    .conv_step = avx512::conv_step,
    .delta_step = avx512::delta_step,
    .draw = avx512::draw,
};

}  // namespace hearth::kernels::cpu

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
