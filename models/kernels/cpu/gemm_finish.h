// From a block of fp32 sums to the output: scale, bias, activation, epilogue.
//
// Any thread; needs has_amx().
#pragma once

#include <cstdint>

#include "models/kernels/gemm.h"

namespace hearth::kernels::cpu {

// Where a block of kBlock x kBlock sums belongs; `rows` of it exist.
struct BlockPlace {
  std::int64_t row, feature;
  std::int64_t rows;
};

// sums [2 row tiles][2 column tiles][16][16], as multiply_block() leaves them.
void finish_block(const HearthGemm& gemm, const BlockPlace& place, const float* sums);

}  // namespace hearth::kernels::cpu
