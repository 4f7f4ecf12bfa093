// A prefill's way through a mixture of experts: few rows by the step's kernels, many grouped by
// expert, so that an expert's weights are read once for all rows that have chosen it.

#include <ATen/ops/index_select.h>

#include "models/kernels/matrices.h"
#include "models/torch/prefill.h"
#include "models/torch/tensors.h"

namespace hearth::engine {

using decoder::Buffer;
using decoder::check_status;
using decoder::Op;

Result<void> Prefill::route(const Op& op, const Part& part) {
  const decoder::Experts& experts = op.weights->experts;
  auto* chosen = static_cast<std::int32_t*>(buffer(Buffer::kChosen));
  const HearthRoute call{.rows = part.rows,
                         .experts = experts.gate_up.count,
                         .each = experts.chosen,
                         .normalised = experts.normalised ? 1 : 0,
                         .logits = static_cast<const float*>(buffer(Buffer::kRouted, part.first)),
                         .logits_stride = width(Buffer::kRouted),
                         .index = nullptr,
                         .chosen = chosen,
                         .shares = static_cast<float*>(buffer(Buffer::kShares))};
  CHECK_OK(check_status(compute_.kernels().route(&call, compute_.memory->stream()), "route"));
  if (part.rows <= HEARTH_MAX_ROWS) return {};
  return groups_.sort(chosen, part.rows, experts.chosen, experts.gate_up.count);
}

Result<void> Prefill::expert_linear(const Op& op, const Part& part) {
  return part.rows <= HEARTH_MAX_ROWS ? few_experts(op, part) : many_experts(op, part);
}

Result<void> Prefill::few_experts(const Op& op, const Part& part) {
  const decoder::Experts& experts = op.weights->experts;
  const std::int64_t first = op.in == Buffer::kHidden ? part.first : 0;
  const HearthExperts call{.weight = op.swiglu ? experts.gate_up : experts.down,
                           .type = compute_.type,
                           .epilogue = op.swiglu ? HEARTH_SWIGLU : HEARTH_STORE,
                           .rows = part.rows,
                           .each = experts.chosen,
                           .chosen = static_cast<const std::int32_t*>(buffer(Buffer::kChosen)),
                           .input = buffer(op.in, first),
                           .input_stride = width(op.in),
                           .norm = op.norm,
                           .norm_epsilon = epsilon(),
                           .output = buffer(op.out)};
  return check_status(compute_.kernels().experts(&call, compute_.memory->stream()), "experts");
}

// The normed rows in the groups' order, where the experts' results will be: those come last.
Result<void> Prefill::gather_rows(const Op& op, const Part& part) {
  CHECK_OK(norm(op.norm, part));
  const std::int64_t hidden = description_.hidden_size;
  const std::int64_t entries = part.rows * op.weights->experts.chosen;
  const at::TensorOptions options = compute_.options();
  at::Tensor gathered = view_at(buffer(Buffer::kExperts), {entries, hidden}, options);
  const at::Tensor rows = view_at(groups_.row(), {entries}, options.dtype(at::kInt));
  at::index_select_out(gathered, view_at(normed_.data(), {part.rows, hidden}, options), 0, rows);
  return {};
}

Result<void> Prefill::many_experts(const Op& op, const Part& part) {
  if (op.swiglu) CHECK_OK(gather_rows(op, part));
  const decoder::Experts& experts = op.weights->experts;
  const HearthMatrices& matrices = op.swiglu ? experts.gate_up : experts.down;
  const std::int64_t in = matrices.first.in_features;
  const std::int64_t out = matrices.first.out_features / (op.swiglu ? 2 : 1);
  const auto bytes = static_cast<std::int64_t>(item_bytes_of(op.out, compute_.type));
  auto* input = static_cast<std::byte*>(buffer(op.swiglu ? Buffer::kExperts : op.in));
  auto* output = static_cast<std::byte*>(buffer(op.out));
  for (const ExpertGroups::Group& group : groups_.groups())
    CHECK_OK(linears_.run({.weight = kernels::matrix_at(matrices, group.expert),
                           .output_type = compute_.type,
                           .epilogue = op.swiglu ? HEARTH_SWIGLU : HEARTH_STORE,
                           .activation = HEARTH_NO_ACTIVATION,
                           .rows = group.count,
                           .input = input + group.first * in * bytes,
                           .input_stride = in,
                           .norm = HEARTH_NO_NORM,
                           .norm_weight = nullptr,
                           .norm_bias = nullptr,
                           .norm_epsilon = 0.0F,
                           .bias = nullptr,
                           .output = output + group.first * out * bytes,
                           .output_stride = out}));
  return {};
}

Result<void> Prefill::combine(const Op& op, const Part& part) {
  const HearthCombine call{.type = compute_.type,
                           .rows = part.rows,
                           .each = op.weights->experts.chosen,
                           .width = width(op.out),
                           .shares = static_cast<const float*>(buffer(Buffer::kShares)),
                           .place = part.rows <= HEARTH_MAX_ROWS ? nullptr : groups_.place(),
                           .input = buffer(op.in),
                           .output = buffer(op.out, part.first),
                           .output_stride = width(op.out)};
  return check_status(compute_.kernels().combine(&call, compute_.memory->stream()), "combine");
}

}  // namespace hearth::engine
