#if defined(__x86_64__)

#include "models/kernels/cpu/lanes/headers.h"
#include "models/kernels/cpu/rows.h"

// Headers stay above: what they define is shared with the other levels.
#if defined(__clang__)
#pragma clang attribute push(                                                               \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#endif

namespace hearth::kernels::cpu {
namespace {
namespace avx512bf16 {

// clang-format off
#include "models/kernels/cpu/lanes/exp.inc"
#include "models/kernels/cpu/lanes/avx512.inc"
#include "models/kernels/cpu/lanes/norm.inc"
#include "models/kernels/cpu/lanes/attention.inc"
#include "models/kernels/cpu/lanes/product_bf16.inc"
#include "models/kernels/cpu/lanes/rows.inc"
// clang-format on

}  // namespace avx512bf16
}  // namespace

const RowFunctions kAvx512Bf16Rows = avx512bf16::kRows;

}  // namespace hearth::kernels::cpu

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
