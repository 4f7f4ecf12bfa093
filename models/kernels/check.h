// What every implementation refuses before it computes.
#pragma once

#include "models/kernels/kernels.h"

namespace hearth::kernels {

inline HearthStatus check(const HearthLinear* linear) {
  if (linear == nullptr || linear->weight == nullptr || linear->input == nullptr ||
      linear->output == nullptr)
    return HEARTH_BAD_ARGUMENT;
  if (linear->type != HEARTH_F32 && linear->type != HEARTH_BF16) return HEARTH_BAD_ARGUMENT;
  if (linear->rows < 1 || linear->rows > HEARTH_MAX_ROWS) return HEARTH_BAD_ARGUMENT;
  if (linear->in_features < 1 || linear->out_features < 1) return HEARTH_BAD_ARGUMENT;
  if (linear->input_stride < linear->in_features) return HEARTH_BAD_ARGUMENT;
  if (linear->output_stride < linear->out_features) return HEARTH_BAD_ARGUMENT;
  return HEARTH_OK;
}

}  // namespace hearth::kernels
