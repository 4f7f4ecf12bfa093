// Weights of any format as the right side of a product with AMX.
//
// Any thread; needs has_amx().
#pragma once

#include <cstdint>

#include "models/kernels/cpu/amx.h"
#include "models/kernels/kernels.h"

namespace hearth::kernels::cpu {

// kBlock features from `feature` on, `steps` times kTileDepth inputs from `input` on. feature is a
// multiple of kBlock, input of HEARTH_GROUP.
struct PanelPlace {
  std::int64_t feature, input;
  int steps;
};

// Writes right tiles [steps][2 column tiles][16 pairs][16 features][2] in bf16, zeros beyond the
// matrix. Codes of INT8 and FP8 come without their scale, which belongs to the sum; weights of INT4
// are scaled.
void unpack_panel(const HearthMatrix& weight, const PanelPlace& place, char* right);

// The cache lines that unpack_panel() will read there; none beyond the matrix.
Prefetch panel_lines(const HearthMatrix& weight, const PanelPlace& place);

}  // namespace hearth::kernels::cpu
