// Input rows, normalised where wanted, as the left side of a product with AMX.
//
// Any thread; needs has_amx().
#pragma once

#include <cstdint>

#include "models/kernels/cpu/amx.h"
#include "models/kernels/gemm.h"

namespace hearth::kernels::cpu {

// Products of 32 inputs that a row takes.
inline std::int64_t depth_steps(std::int64_t in_features) {
  return (in_features + kTileDepth - 1) / kTileDepth;
}

// Writes rows first .. first + kTileRows - 1, zeros from `end` on and beyond in_features, as tiles
// [step][16 rows][32] that stand kStepBytes apart.
void pack_rows(const HearthGemm& gemm, std::int64_t first, std::int64_t end, char* left);

}  // namespace hearth::kernels::cpu
