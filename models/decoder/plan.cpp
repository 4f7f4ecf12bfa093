#include "models/decoder/plan.h"

#include <algorithm>

#include "models/kernels/matrices.h"

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

void add_experts(std::vector<Op>& plan, const LayerWeights& weights) {
  plan.push_back(norm_linear(weights.mlp_norm, weights.experts.router, Buffer::kRouted));
  plan.push_back({.kind = OpKind::kRoute, .in = Buffer::kRouted, .weights = &weights});
  plan.push_back({.kind = OpKind::kExpertLinear,
                  .out = Buffer::kActivated,
                  .swiglu = true,
                  .norm = weights.mlp_norm,
                  .weights = &weights});
  plan.push_back({.kind = OpKind::kExpertLinear,
                  .in = Buffer::kActivated,
                  .out = Buffer::kExperts,
                  .weights = &weights});
  plan.push_back({.kind = OpKind::kCombine, .in = Buffer::kExperts, .weights = &weights});
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
  if (weights.experts.chosen > 0) return add_experts(plan, weights);
  plan.push_back(norm_linear(weights.mlp_norm, weights.gate_up, Buffer::kActivated));
  plan.back().swiglu = true;
  plan.push_back(linear_add(Buffer::kActivated, weights.down));
}

// The largest of a number over all layers.
template <class Number>
std::int64_t most(const Description& description, const Number& number) {
  std::int64_t found = 0;
  for (const LayerDescription& layer : description.layers)
    found = std::max<std::int64_t>(found, number(layer));
  return found;
}

// 0 without experts.
std::int64_t chosen_of(const LayerDescription& layer) {
  return layer.mlp == MlpKind::kExperts ? layer.experts.chosen : 0;
}

std::int64_t count_of(const LayerDescription& layer) {
  return layer.mlp == MlpKind::kExperts ? layer.experts.count : 0;
}

std::int64_t activations_of(const LayerDescription& layer) {
  return layer.mlp == MlpKind::kExperts
             ? std::int64_t{layer.experts.chosen} * layer.experts.intermediate_size
             : layer.intermediate_size;
}

// Of all experts' weights what arrives last.
const void* last_expert(const Op& op) {
  const Experts& experts = op.weights->experts;
  const HearthMatrices& matrices = op.swiglu ? experts.gate_up : experts.down;
  return kernels::matrix_at(matrices, matrices.count - 1).data;
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
    case OpKind::kExpertLinear:
      return {op.norm, last_expert(op)};
    case OpKind::kRoute:
    case OpKind::kCombine:
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
      return most(description, activations_of);
    case Buffer::kRouted:
      return most(description, count_of);
    case Buffer::kChosen:
    case Buffer::kShares:
      return most(description, chosen_of);
    case Buffer::kExperts:
      return most(description, chosen_of) * description.hidden_size;
    case Buffer::kLogits:
      return description.vocabulary_size;
  }
  return description.hidden_size;
}

Widths widths_of(const Description& description) {
  Widths widths{};
  for (std::size_t i = 0; i < kBuffers; ++i)
    widths[i] = width_of(static_cast<Buffer>(i), description);
  return widths;
}

std::size_t item_bytes_of(Buffer buffer, HearthType type) {
  switch (buffer) {
    case Buffer::kRouted:
    case Buffer::kChosen:
    case Buffer::kShares:
    case Buffer::kLogits:
      return 4;
    case Buffer::kHidden:
    case Buffer::kQkv:
    case Buffer::kAttended:
    case Buffer::kActivated:
    case Buffer::kExperts:
      break;
  }
  return type == HEARTH_F32 ? 4 : 2;
}

}  // namespace hearth::decoder
