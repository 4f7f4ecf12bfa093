#include "models/torch/linear.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>

#include "models/kernels/kernels.h"
#include "models/torch/tensors.h"

namespace hearth::engine {
namespace {

// A GEMM packs its weights; with few rows the packing costs more than the product.
bool by_kernel(const at::Tensor& input) {
  return input.is_cpu() && input.size(0) <= HEARTH_MAX_ROWS;
}

HearthStatus run_kernel(const BoundLinear& linear, const at::Tensor& input, at::Tensor& output) {
  const bool bfloat16 = input.scalar_type() == at::kBFloat16;
  const HearthLinear call = {.type = bfloat16 ? HEARTH_BF16 : HEARTH_F32,
                             .weight = linear.weights.weight.data,
                             .bias = linear.weights.bias.data,
                             .input = input.const_data_ptr(),
                             .output = output.mutable_data_ptr(),
                             .rows = input.size(0),
                             .in_features = input.size(1),
                             .out_features = output.size(1),
                             .input_stride = input.stride(0),
                             .output_stride = output.stride(0)};
  return hearth_linear_cpu(&call, nullptr);
}

}  // namespace

BoundLinear::BoundLinear(const decoder::Linear& linear)
    : weights(linear), transposed(view_of(linear.weight).t()), bias(view_of(linear.bias)) {}

void linear(const BoundLinear& linear, const at::Tensor& input, at::Tensor& output) {
  if (by_kernel(input) && run_kernel(linear, input, output) == HEARTH_OK) return;
  if (linear.bias.defined()) {
    at::addmm_out(output, linear.bias, input, linear.transposed);
  } else {
    at::mm_out(output, input, linear.transposed);
  }
}

}  // namespace hearth::engine
