// What a step launches for each operation of its plan.

#include <cmath>

#include "models/decoder/step.h"

namespace hearth::decoder {

HearthStatus Step::launch(const Op& op, const Extent& extent) const {
  const std::int64_t rows = extent.rows;
  switch (op.kind) {
    case OpKind::kEmbed:
      return embed(rows);
    case OpKind::kNormLinear:
      return linear(op, op.swiglu ? HEARTH_SWIGLU : HEARTH_STORE, rows);
    case OpKind::kLinearAdd:
      return linear(op, HEARTH_ADD, rows);
    case OpKind::kRoute:
      return route(op, rows);
    case OpKind::kExpertLinear:
      return expert_linear(op, rows);
    case OpKind::kCombine:
      return combine(op, rows);
    case OpKind::kRopeWrite:
      return rope_write(op, rows);
    case OpKind::kAttention:
      return attention(op, rows, extent.most_tokens);
    case OpKind::kGate:
      return gate(op, rows);
    case OpKind::kConvolve:
      return in_order(extent, [&](auto... part) { return convolve(op, part...); });
    case OpKind::kDeltaRule:
      return in_order(extent, [&](auto... part) { return delta_rule(op, part...); });
    // Pictures, hidden states and the choice of rows belong to prefill.
    case OpKind::kAddDeepstack:
    case OpKind::kTap:
    case OpKind::kHead:
      break;
  }
  return HEARTH_OK;
}

HearthStatus Step::embed(std::int64_t rows) const {
  const HearthEmbed call{.type = weights_.type,
                         .table = weights_.embedding,
                         .vocabulary = description_.vocabulary_size,
                         .width = description_.hidden_size,
                         .token = fixed_.rows.token,
                         .rows = rows,
                         .output = fixed_.buffer(Buffer::kHidden),
                         .output_stride = description_.hidden_size};
  return kernels_.embed(&call, memory_.stream());
}

HearthLinear Step::linear_call(const Linear& linear, const float* norm, std::int64_t rows) const {
  return {.weight = linear.matrix,
          .type = weights_.type,
          .output_type = weights_.type,
          .epilogue = HEARTH_STORE,
          .rows = rows,
          .input = nullptr,
          .input_stride = 0,
          .norm = norm,
          .norm_epsilon = static_cast<float>(description_.norm_epsilon),
          .bias = linear.bias,
          .output = nullptr,
          .output_stride = 0};
}

HearthStatus Step::linear(const Op& op, HearthEpilogue epilogue, std::int64_t rows) const {
  HearthLinear call = linear_call(*op.linear, op.norm, rows);
  call.epilogue = epilogue;
  if (op.out == Buffer::kRouted) call.output_type = HEARTH_F32;
  call.input = fixed_.buffer(op.in);
  call.input_stride = width(op.in);
  call.output = fixed_.buffer(op.out);
  call.output_stride = width(op.out);
  return kernels_.linear(&call, memory_.stream());
}

HearthStatus Step::route(const Op& op, std::int64_t rows) const {
  const Experts& experts = op.weights->experts;
  const HearthRoute call{.rows = rows,
                         .experts = experts.gate_up.count,
                         .each = experts.chosen,
                         .normalised = experts.normalised ? 1 : 0,
                         .logits = static_cast<const float*>(fixed_.buffer(Buffer::kRouted)),
                         .logits_stride = width(Buffer::kRouted),
                         .index = fixed_.rows.index,
                         .chosen = static_cast<std::int32_t*>(fixed_.buffer(Buffer::kChosen)),
                         .shares = static_cast<float*>(fixed_.buffer(Buffer::kShares))};
  return kernels_.route(&call, memory_.stream());
}

HearthStatus Step::expert_linear(const Op& op, std::int64_t rows) const {
  const Experts& experts = op.weights->experts;
  const HearthExperts call{
      .weight = op.swiglu ? experts.gate_up : experts.down,
      .type = weights_.type,
      .epilogue = op.swiglu ? HEARTH_SWIGLU : HEARTH_STORE,
      .rows = rows,
      .each = experts.chosen,
      .chosen = static_cast<const std::int32_t*>(fixed_.buffer(Buffer::kChosen)),
      .input = fixed_.buffer(op.in),
      .input_stride = width(op.in),
      .norm = op.norm,
      .norm_epsilon = static_cast<float>(description_.norm_epsilon),
      .output = fixed_.buffer(op.out)};
  return kernels_.experts(&call, memory_.stream());
}

HearthStatus Step::combine(const Op& op, std::int64_t rows) const {
  const HearthCombine call{.type = weights_.type,
                           .rows = rows,
                           .each = op.weights->experts.chosen,
                           .width = width(op.out),
                           .shares = static_cast<const float*>(fixed_.buffer(Buffer::kShares)),
                           .place = nullptr,
                           .input = fixed_.buffer(op.in),
                           .output = fixed_.buffer(op.out),
                           .output_stride = width(op.out)};
  return kernels_.combine(&call, memory_.stream());
}

HearthStatus Step::rope_write(const Op& op, std::int64_t rows) const {
  const HearthRopeWrite call{.type = weights_.type,
                             .rows = rows,
                             .heads = description_.layers.front().heads,
                             .qkv = fixed_.buffer(op.in),
                             .qkv_stride = width(op.in),
                             .q_norm = op.weights->q_norm,
                             .k_norm = op.weights->k_norm,
                             .norm_epsilon = static_cast<float>(description_.norm_epsilon),
                             .cosines = fixed_.rows.cosines,
                             .sines = fixed_.rows.sines,
                             .slot = fixed_.rows.slot,
                             .index = fixed_.rows.index,
                             .cache = cache(op.index)};
  return kernels_.rope_write(&call, memory_.stream());
}

HearthStatus Step::attention(const Op& op, std::int64_t rows, std::int64_t most_tokens) const {
  const LayerDescription& layer = description_.layers.front();
  const HearthAttention call{
      .type = weights_.type,
      .rows = rows,
      .heads = layer.heads,
      .query = fixed_.buffer(op.in),
      .query_stride = width(op.in),
      .slot = fixed_.rows.slot,
      .index = fixed_.rows.index,
      .most_tokens = most_tokens,
      .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(layer.head_dim))),
      .cache = cache(op.index),
      .output = fixed_.buffer(op.out),
      .output_stride = width(op.out),
      .workspace = fixed_.attention_workspace.data()};
  return kernels_.attention(&call, memory_.stream());
}

HearthStatus Step::gate(const Op& op, std::int64_t rows) const {
  const HearthType type = op.in == Buffer::kRouted ? HEARTH_F32 : weights_.type;
  const HearthGate call{.type = weights_.type,
                        .rows = rows,
                        .width = op.gates.width,
                        .gate_type = type,
                        .gates = op.gates.count,
                        .gate = at(op.in, 0, op.gates.first),
                        .gate_stride = width(op.in),
                        .output = fixed_.buffer(op.out),
                        .output_stride = width(op.out)};
  return kernels_.gate(&call, memory_.stream());
}

// Calls run(first, rows): once, or for one row after the other where the next one continues from
// what it leaves.
template <class Run>
HearthStatus Step::in_order(const Extent& extent, const Run& run) const {
  if (!extent.one_slot) return run(std::int64_t{0}, extent.rows);
  for (std::int64_t row = 0; row < extent.rows; ++row)
    if (const HearthStatus status = run(row, std::int64_t{1}); status != HEARTH_OK) return status;
  return HEARTH_OK;
}

HearthStatus Step::convolve(const Op& op, std::int64_t first, std::int64_t rows) const {
  const DeltaRule& delta = *description_.delta_rule();
  const HearthConvStep call{.type = weights_.type,
                            .rows = rows,
                            .channels = delta.channels(),
                            .taps = delta.taps,
                            .input = at(op.in, first),
                            .input_stride = width(op.in),
                            .weight = op.weights->delta.convolution,
                            .slot = fixed_.rows.slot + first,
                            .window = fixed_.recurrent.window(op.index),
                            .output = at(op.out, first),
                            .output_stride = width(op.out)};
  return kernels_.conv_step(&call, memory_.stream());
}

HearthStatus Step::delta_rule(const Op& op, std::int64_t first, std::int64_t rows) const {
  const DeltaRule& delta = *description_.delta_rule();
  const HearthDeltaStep call{.type = weights_.type,
                             .rows = rows,
                             .key_heads = delta.key_heads,
                             .value_heads = delta.value_heads,
                             .key_dim = delta.key_dim,
                             .value_dim = delta.value_dim,
                             .qkv = at(op.in, first),
                             .qkv_stride = width(op.in),
                             .z = at(op.in, first, delta.channels()),
                             .z_stride = width(op.in),
                             .a = at(Buffer::kGates, first, delta.value_heads),
                             .b = at(Buffer::kGates, first),
                             .ab_stride = width(Buffer::kGates),
                             .a_log = op.weights->delta.a_log,
                             .dt_bias = op.weights->delta.dt_bias,
                             .norm = op.weights->delta.norm,
                             .norm_epsilon = static_cast<float>(description_.norm_epsilon),
                             .slot = fixed_.rows.slot + first,
                             .state = fixed_.recurrent.state(op.index),
                             .output = at(op.out, first),
                             .output_stride = width(op.out)};
  return kernels_.delta_step(&call, memory_.stream());
}

void* Step::at(Buffer which, std::int64_t row, std::int64_t column) const {
  return static_cast<std::byte*>(fixed_.buffer(which)) +
         static_cast<std::size_t>(row * width(which) + column) *
             item_bytes_of(which, weights_.type);
}

}  // namespace hearth::decoder
