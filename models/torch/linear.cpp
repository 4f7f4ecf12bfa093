#include "models/torch/linear.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/mm.h>

#include "models/progress.h"
#include "models/torch/tensors.h"

namespace hearth::engine {
namespace {

// Features that are unpacked together: enough rows for a product, few enough to stay in a cache.
constexpr std::int64_t kPanelFeatures = 512;

HearthFormat format_of(at::ScalarType type) {
  return type == at::kBFloat16 ? HEARTH_FORMAT_BF16 : HEARTH_FORMAT_F32;
}

HearthType type_of(at::ScalarType type) {
  return type == at::kBFloat16 ? HEARTH_BF16 : HEARTH_F32;
}

at::Tensor vector_at(const void* data, std::int64_t size, at::TensorOptions options) {
  return data == nullptr ? at::Tensor() : view_at(data, {size}, options);
}

}  // namespace

Result<void> Linears::run(const HearthGemm& call) {
  models::progressed();  // prefill and towers are made of these
  if (takes_few_rows(call)) return decoder::check_status(few_rows(call), "a product of few rows");
  if (!compute_.amx) return by_library(call);
  return decoder::check_status(hearth_gemm_cpu(&call), "a product of many rows");
}

bool Linears::takes_few_rows(const HearthGemm& call) const {
  return call.rows <= HEARTH_MAX_ROWS && call.norm != HEARTH_LAYER_NORM &&
         call.activation == HEARTH_NO_ACTIVATION;
}

HearthStatus Linears::few_rows(const HearthGemm& call) const {
  const HearthLinear few{.weight = call.weight,
                         .type = compute_.type,
                         .output_type = call.output_type,
                         .epilogue = call.epilogue,
                         .rows = call.rows,
                         .input = call.input,
                         .input_stride = call.input_stride,
                         .norm = call.norm == HEARTH_RMS_NORM ? call.norm_weight : nullptr,
                         .norm_epsilon = call.norm_epsilon,
                         .bias = call.bias,
                         .output = call.output,
                         .output_stride = call.output_stride};
  return compute_.kernels().linear(&few, compute_.memory->stream());
}

Result<void> Linears::by_library(const HearthGemm& call) {
  const std::int64_t features = call.weight.out_features;
  const at::TensorOptions options = compute_.options();
  TRY(const at::Tensor input, library_input(call));
  if (call.epilogue == HEARTH_SWIGLU) {
    at::Tensor both = wide_.take({call.rows, features}, options);
    CHECK_OK(multiply(call, input, both));
    const HearthSwiGlu swiglu{.type = compute_.type,
                              .rows = call.rows,
                              .width = features / 2,
                              .input = both.const_data_ptr(),
                              .input_stride = features,
                              .output = call.output,
                              .output_stride = call.output_stride};
    return decoder::check_status(compute_.kernels().swiglu(&swiglu, compute_.memory->stream()),
                                 "swiglu");
  }
  at::Tensor output = view_at(call.output, {call.rows, features}, {call.output_stride, 1},
                              options.dtype(scalar_type(call.output_type)));
  CHECK_OK(multiply(call, input, output));
  if (call.activation != HEARTH_NO_ACTIVATION)
    at::gelu_out(output, output, call.activation == HEARTH_GELU_TANH ? "tanh" : "none");
  return {};
}

// What the library multiplies in.
at::ScalarType Linears::library(const HearthGemm& call) const {
  return call.output_type == HEARTH_F32 ? at::kFloat : compute_.library;
}

// The input or its norm, in the activations' type.
Result<at::Tensor> Linears::normed(const HearthGemm& call) {
  const std::int64_t width = call.weight.in_features;
  const at::TensorOptions options = compute_.options();
  const at::Tensor input = view_at(call.input, {call.rows, width}, {call.input_stride, 1}, options);
  if (call.norm == HEARTH_NO_NORM) return input;
  at::Tensor output = normed_.take({call.rows, width}, options);
  if (call.norm == HEARTH_LAYER_NORM) {
    const at::TensorOptions fp32 = options.dtype(at::kFloat);
    output.copy_(at::layer_norm(input.to(at::kFloat), width,
                                vector_at(call.norm_weight, width, fp32),
                                vector_at(call.norm_bias, width, fp32), call.norm_epsilon));
    return output;
  }
  const HearthRmsNorm norm{.type = compute_.type,
                           .rows = call.rows,
                           .width = width,
                           .input = const_cast<void*>(call.input),  // kept: there is no residual
                           .input_stride = call.input_stride,
                           .residual = nullptr,
                           .residual_stride = 0,
                           .weight = call.norm_weight,
                           .epsilon = call.norm_epsilon,
                           .output = output.mutable_data_ptr(),
                           .output_stride = width};
  CHECK_OK(decoder::check_status(compute_.kernels().rms_norm(&norm, compute_.memory->stream()),
                                 "rms_norm"));
  return output;
}

Result<at::Tensor> Linears::library_input(const HearthGemm& call) {
  TRY(at::Tensor input, normed(call));
  if (input.scalar_type() == library(call)) return input;
  at::Tensor converted = input_.take(input.sizes(), input.options().dtype(library(call)));
  converted.copy_(input);
  return converted;
}

// Features [first, first + count) of a weight in the library's type. [count, in_features]
Result<at::Tensor> Linears::panel(const HearthGemm& call, std::int64_t first, std::int64_t count) {
  const at::ScalarType type = library(call);
  at::Tensor unpacked =
      panel_.take({count, call.weight.in_features}, compute_.options().dtype(type));
  const HearthUnpack unpack{.matrix = call.weight,
                            .first = first,
                            .count = count,
                            .type = type_of(type),
                            .target = unpacked.mutable_data_ptr()};
  CHECK_OK(decoder::check_status(compute_.kernels().unpack(&unpack, compute_.memory->stream()),
                                 "unpack"));
  return unpacked;
}

// output = input weightᵀ + bias, or with HEARTH_ADD output += it. [rows, out_features]
Result<void> Linears::multiply(const HearthGemm& call, const at::Tensor& input,
                               at::Tensor& output) {
  const HearthMatrix& weight = call.weight;
  const bool direct = weight.format == format_of(library(call));
  const at::Tensor bias = vector_at(call.bias, weight.out_features, compute_.options());
  const std::int64_t step = direct ? weight.out_features : kPanelFeatures;
  for (std::int64_t first = 0; first < weight.out_features; first += step) {
    const std::int64_t count = std::min(step, weight.out_features - first);
    at::Tensor rows;
    if (direct) {
      rows = view_at(weight.data, {count, weight.in_features}, input.options());
    } else {
      TRY(rows, panel(call, first, count));
    }
    multiply_panel(input, {.rows = rows,
                           .bias = bias.defined() ? bias.narrow(0, first, count) : bias,
                           .output = output.narrow(1, first, count),
                           .add = call.epilogue == HEARTH_ADD});
  }
  return {};
}

// Sums that need a further term are rounded once more only where that term is as large as they are:
// rounding the residual stream twice would cost it half a bit in every layer.
void Linears::multiply_panel(const at::Tensor& input, const Panel& panel) {
  const at::Tensor weight = panel.rows.t();
  at::Tensor output = panel.output;
  const bool biased = panel.bias.defined();
  const at::ScalarType type = input.scalar_type();
  const bool in_place = output.scalar_type() == type && !(panel.add && biased);
  at::Tensor product =
      in_place ? output : product_.take({input.size(0), panel.rows.size(0)}, input.options());
  if (biased) {
    at::addmm_out(product, panel.bias.to(type), input, weight);
  } else if (in_place && panel.add) {
    at::addmm_out(product, output, input, weight);
  } else {
    at::mm_out(product, input, weight);
  }
  if (in_place) return;
  panel.add ? output.add_(product) : output.copy_(product);
}

}  // namespace hearth::engine
