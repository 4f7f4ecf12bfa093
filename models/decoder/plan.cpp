#include "models/decoder/plan.h"

namespace hearth::decoder {
namespace {

Op norm_linear(const float* norm, const Linear& linear, Buffer out) {
  return {.kind = OpKind::kNormLinear, .out = out, .norm = norm, .linear = &linear};
}

Op linear_add(Buffer in, const Linear& linear) {
  return {.kind = OpKind::kLinearAdd, .in = in, .linear = &linear};
}

Op tap(std::int32_t state) {
  return {.kind = OpKind::kTap, .index = state};
}

void add_layer(std::vector<Op>& plan, std::int32_t layer, const LayerWeights& weights) {
  plan.push_back(norm_linear(weights.attention_norm, weights.qkv, Buffer::kQkv));
  plan.push_back({.kind = OpKind::kRopeWrite,
                  .in = Buffer::kQkv,
                  .out = Buffer::kQkv,
                  .index = layer,
                  .weights = &weights});
  plan.push_back(
      {.kind = OpKind::kAttention, .in = Buffer::kQkv, .out = Buffer::kAttended, .index = layer});
  plan.push_back(linear_add(Buffer::kAttended, weights.output));
  plan.push_back(norm_linear(weights.mlp_norm, weights.gate_up, Buffer::kActivated));
  plan.back().swiglu = true;
  plan.push_back(linear_add(Buffer::kActivated, weights.down));
}

}  // namespace

std::vector<Op> build_plan(const Description& description, const Weights& weights) {
  const auto layers = static_cast<std::int32_t>(weights.layers.size());
  std::vector<Op> plan;
  plan.push_back({.kind = OpKind::kEmbed});
  for (std::int32_t i = 0; i < layers; ++i) {
    plan.push_back(tap(i));
    // What a layer leaves is tapped before a DeepStack level is added to it.
    if (i > 0 && i <= description.deepstack_layers)
      plan.push_back({.kind = OpKind::kAddDeepstack, .index = i - 1});
    add_layer(plan, i, weights.layers[static_cast<std::size_t>(i)]);
  }
  if (layers <= description.deepstack_layers)
    plan.push_back({.kind = OpKind::kAddDeepstack, .index = layers - 1});
  // What the last layer leaves is tapped as its norm.
  plan.push_back({.kind = OpKind::kTap, .index = layers, .norm = weights.final_norm});
  plan.push_back({.kind = OpKind::kHead,
                  .out = Buffer::kLogits,
                  .norm = weights.final_norm,
                  .linear = &weights.head});
  return plan;
}

std::array<const void*, 3> weights_of(const Op& op, const Weights& weights) {
  switch (op.kind) {
    case OpKind::kEmbed:
      return {weights.embedding};
    case OpKind::kNormLinear:
    case OpKind::kLinearAdd:
    case OpKind::kHead:
      return {op.norm, op.linear->matrix.data, op.linear->bias};
    case OpKind::kRopeWrite:
      return {op.weights->q_norm, op.weights->k_norm};
    case OpKind::kTap:
      return {op.norm};
    case OpKind::kAttention:
    case OpKind::kAddDeepstack:
      break;
  }
  return {};
}

std::int64_t width_of(Buffer buffer, const Description& description) {
  const LayerDescription& layer = description.layers.front();
  switch (buffer) {
    case Buffer::kHidden:
      break;
    case Buffer::kQkv:
      return std::int64_t{layer.qkv_heads()} * layer.head_dim;
    case Buffer::kAttended:
      return std::int64_t{layer.heads} * layer.head_dim;
    case Buffer::kActivated:
      return layer.intermediate_size;
    case Buffer::kLogits:
      return description.vocabulary_size;
  }
  return description.hidden_size;
}

}  // namespace hearth::decoder
