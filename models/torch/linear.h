// The one door to every matrix product of a decoder: few rows by our kernels, many by ATen's GEMM.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/decoder/weights.h"

namespace hearth::engine {

// A linear ready to run. Borrows the weights' memory.
struct BoundLinear {
  decoder::Linear weights;
  at::Tensor transposed;  // view: [in_features, out_features]
  at::Tensor bias;        // view, or undefined

  BoundLinear() = default;
  explicit BoundLinear(const decoder::Linear& linear);
};

// output = input weightᵀ + bias. input [rows, in_features], output [rows, out_features]: same type
// and device as the weights, dense rows.
void linear(const BoundLinear& linear, const at::Tensor& input, at::Tensor& output);

}  // namespace hearth::engine
