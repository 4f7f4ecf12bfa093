// One matrix out of several. C++17, because CUDA sources include it.
#pragma once

#include <cstdint>

#include "models/kernels/kernels.h"

namespace hearth::kernels {

inline HearthMatrix matrix_at(const HearthMatrices& matrices, std::int64_t number) {
  HearthMatrix matrix = matrices.first;
  const std::int64_t offset = number * matrices.stride_bytes;
  matrix.data = static_cast<const char*>(matrix.data) + offset;
  if (matrix.scales != nullptr) matrix.scales = static_cast<const char*>(matrix.scales) + offset;
  return matrix;
}

inline bool is_one_of(const HearthMatrices& matrices, std::int64_t number) {
  return number >= 0 && number < matrices.count;
}

// Numbers in one output of an expert.
inline std::int64_t output_width(const HearthExperts& call) {
  return call.weight.first.out_features / (call.epilogue == HEARTH_SWIGLU ? 2 : 1);
}

}  // namespace hearth::kernels
