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

// What a shared expert's MLP is multiplied by goes to what its last linear reads.
void add_shared(std::vector<Op>& plan, const LayerWeights& weights) {
  const Experts& experts = weights.experts;
  plan.push_back(norm_linear(weights.mlp_norm, experts.shared_gate_up, Buffer::kShared));
  plan.back().swiglu = true;
  plan.push_back({.kind = OpKind::kGate,
                  .in = Buffer::kRouted,
                  .out = Buffer::kShared,
                  .gates = {experts.gate_up.count, 1, experts.shared_down.matrix.in_features}});
}

void add_experts(std::vector<Op>& plan, const LayerWeights& weights) {
  plan.push_back(norm_linear(weights.mlp_norm, weights.experts.router, Buffer::kRouted));
  if (weights.experts.has_shared()) add_shared(plan, weights);
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
  if (weights.experts.has_shared())
    plan.push_back(linear_add(Buffer::kShared, weights.experts.shared_down));
}

void add_attention(std::vector<Op>& plan, std::int32_t cache, const LayerDescription& layer,
                   const LayerWeights& weights) {
  plan.push_back(norm_linear(weights.attention_norm, weights.qkv, Buffer::kQkv));
  plan.push_back({.kind = OpKind::kRopeWrite,
                  .in = Buffer::kQkv,
                  .out = Buffer::kQkv,
                  .index = cache,
                  .weights = &weights});
  plan.push_back(
      {.kind = OpKind::kAttention, .in = Buffer::kQkv, .out = Buffer::kAttended, .index = cache});
  if (!layer.gated) return;
  const std::int64_t width = std::int64_t{layer.heads} * layer.head_dim;
  plan.push_back({.kind = OpKind::kGate,
                  .in = Buffer::kQkv,
                  .out = Buffer::kAttended,
                  .gates = {std::int64_t{layer.qkv_heads()} * layer.head_dim, width, width}});
}

void add_delta_rule(std::vector<Op>& plan, std::int32_t state, const LayerWeights& weights) {
  plan.push_back(norm_linear(weights.attention_norm, weights.delta.input, Buffer::kQkv));
  plan.push_back(norm_linear(weights.attention_norm, weights.delta.gates, Buffer::kGates));
  plan.push_back({.kind = OpKind::kConvolve,
                  .in = Buffer::kQkv,
                  .out = Buffer::kQkv,
                  .index = state,
                  .weights = &weights});
  plan.push_back({.kind = OpKind::kDeltaRule,
                  .in = Buffer::kQkv,
                  .out = Buffer::kAttended,
                  .index = state,
                  .weights = &weights});
}

void add_mlp(std::vector<Op>& plan, const LayerWeights& weights) {
  if (weights.experts.chosen > 0) return add_experts(plan, weights);
  plan.push_back(norm_linear(weights.mlp_norm, weights.gate_up, Buffer::kActivated));
  plan.back().swiglu = true;
  plan.push_back(linear_add(Buffer::kActivated, weights.down));
}

// Layers with a cache and layers with a state are numbered apart.
struct Numbers {
  std::int32_t caches = 0, states = 0;
};

void add_layer(std::vector<Op>& plan, const LayerDescription& layer, const LayerWeights& weights,
               Numbers& numbers) {
  if (layer.is_recurrent())
    add_delta_rule(plan, numbers.states++, weights);
  else
    add_attention(plan, numbers.caches++, layer, weights);
  plan.push_back(linear_add(Buffer::kAttended, weights.output));
  add_mlp(plan, weights);
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

// What the router says of a row: a number for each expert, and for a shared one.
std::int64_t routed_of(const LayerDescription& layer) {
  if (layer.mlp != MlpKind::kExperts) return 0;
  return layer.experts.count + (layer.experts.has_shared() ? 1 : 0);
}

std::int64_t shared_of(const LayerDescription& layer) {
  return layer.mlp == MlpKind::kExperts ? layer.experts.shared_intermediate_size : 0;
}

std::int64_t qkv_of(const LayerDescription& layer) {
  if (layer.is_recurrent()) return layer.delta.channels() + layer.delta.values();
  return std::int64_t{layer.qkv_heads() + (layer.gated ? layer.heads : 0)} * layer.head_dim;
}

std::int64_t attended_of(const LayerDescription& layer) {
  return layer.is_recurrent() ? layer.delta.values() : std::int64_t{layer.heads} * layer.head_dim;
}

std::int64_t gates_of(const LayerDescription& layer) {
  return layer.is_recurrent() ? 2 * layer.delta.value_heads : 0;
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
  Numbers numbers;
  plan.push_back({.kind = OpKind::kEmbed});
  for (std::int32_t i = 0; i < layers; ++i) {
    plan.push_back(tap(i));
    // What a layer leaves is tapped before a DeepStack level is added to it.
    if (i > 0 && i <= description.deepstack_layers)
      plan.push_back({.kind = OpKind::kAddDeepstack, .index = i - 1});
    const auto number = static_cast<std::size_t>(i);
    add_layer(plan, description.layers[number], weights.layers[number], numbers);
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
    case OpKind::kConvolve:
      return {op.weights->delta.convolution};
    case OpKind::kDeltaRule:
      return {op.weights->delta.a_log, op.weights->delta.dt_bias, op.weights->delta.norm};
    case OpKind::kRoute:
    case OpKind::kCombine:
    case OpKind::kAttention:
    case OpKind::kGate:
    case OpKind::kAddDeepstack:
      break;
  }
  return {};
}

std::int64_t width_of(Buffer buffer, const Description& description) {
  switch (buffer) {
    case Buffer::kHidden:
      break;
    case Buffer::kQkv:
      return most(description, qkv_of);
    case Buffer::kGates:
      return most(description, gates_of);
    case Buffer::kAttended:
      return most(description, attended_of);
    case Buffer::kActivated:
      return most(description, activations_of);
    case Buffer::kRouted:
      return most(description, routed_of);
    case Buffer::kChosen:
    case Buffer::kShares:
      return most(description, chosen_of);
    case Buffer::kExperts:
      return most(description, chosen_of) * description.hidden_size;
    case Buffer::kShared:
      return most(description, shared_of);
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
    case Buffer::kGates:
    case Buffer::kAttended:
    case Buffer::kActivated:
    case Buffer::kExperts:
    case Buffer::kShared:
      break;
  }
  return type == HEARTH_F32 ? 4 : 2;
}

}  // namespace hearth::decoder
