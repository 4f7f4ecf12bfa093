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
#include "models/kernels/cpu/lanes/rows.inc"
// clang-format on

}  // namespace avx2
}  // namespace

const RowFunctions kAvx2Rows = avx2::kRows;

}  // namespace hearth::kernels::cpu

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
