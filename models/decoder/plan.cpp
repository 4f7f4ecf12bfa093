#include "models/decoder/plan.h"

namespace hearth::decoder {
namespace {

class Builder {
 public:
  void norm(OpKind kind, Buffer in, Buffer out, const WeightView& weight) {
    ops_.push_back({.kind = kind, .in = in, .out = out, .weight = &weight});
  }
  void linear(Buffer in, Buffer out, const Linear& linear) {
    ops_.push_back({.kind = OpKind::kLinear, .in = in, .out = out, .linear = &linear});
  }
  void tap(std::int32_t state) { ops_.push_back({.kind = OpKind::kTap, .state = state}); }
  void add(Op op) { ops_.push_back(op); }
  std::vector<Op> finish() && { return std::move(ops_); }

 private:
  std::vector<Op> ops_;
};

void attention(Builder& plan, std::int32_t layer, const LayerWeights& weights) {
  plan.linear(Buffer::kNormed, Buffer::kQkv, weights.qkv);
  plan.add({.kind = OpKind::kQkNormRopeWrite,
            .in = Buffer::kQkv,
            .out = Buffer::kQkv,
            .layer = layer,
            .weight = &weights.qk_norm});
  plan.add(
      {.kind = OpKind::kAttention, .in = Buffer::kQkv, .out = Buffer::kAttended, .layer = layer});
  plan.linear(Buffer::kAttended, Buffer::kBranch, weights.output);
}

void mlp(Builder& plan, const LayerWeights& weights) {
  plan.norm(OpKind::kAddRmsNorm, Buffer::kHidden, Buffer::kNormed, weights.mlp_norm);
  plan.linear(Buffer::kNormed, Buffer::kGateUp, weights.gate_up);
  plan.add({.kind = OpKind::kSwiGlu, .in = Buffer::kGateUp, .out = Buffer::kActivated});
  plan.linear(Buffer::kActivated, Buffer::kBranch, weights.down);
}

void head(Builder& plan, const Weights& weights) {
  plan.add({.kind = OpKind::kTap,
            .in = Buffer::kHidden,
            .out = Buffer::kNormed,
            .state = static_cast<std::int32_t>(weights.layers.size()),
            .weight = &weights.final_norm});
  plan.add({.kind = OpKind::kChooseRows, .in = Buffer::kHidden, .out = Buffer::kChosen});
  plan.norm(OpKind::kRmsNorm, Buffer::kChosen, Buffer::kChosen, weights.final_norm);
  plan.linear(Buffer::kChosen, Buffer::kLogits, weights.head);
}

}  // namespace

std::vector<Op> build_plan(const Description& description, const Weights& weights) {
  Builder plan;
  plan.add({.kind = OpKind::kEmbed, .out = Buffer::kHidden, .weight = &weights.embedding});
  plan.tap(0);
  // Whether the branch of the layer before still waits to be added: the next norm does it.
  bool waits = false;
  const auto layers = static_cast<std::int32_t>(weights.layers.size());
  for (std::int32_t i = 0; i < layers; ++i) {
    const LayerWeights& layer = weights.layers[static_cast<std::size_t>(i)];
    plan.norm(waits ? OpKind::kAddRmsNorm : OpKind::kRmsNorm, Buffer::kHidden, Buffer::kNormed,
              layer.attention_norm);
    if (waits) plan.tap(i);
    attention(plan, i, layer);
    mlp(plan, layer);
    waits = i >= description.deepstack_layers && i + 1 < layers;
    if (waits) continue;
    plan.add({.kind = OpKind::kAdd, .in = Buffer::kBranch, .out = Buffer::kHidden});
    if (i + 1 < layers) plan.tap(i + 1);  // what the last layer leaves is tapped as its norm
    if (i < description.deepstack_layers)
      plan.add({.kind = OpKind::kAddDeepstack, .out = Buffer::kHidden, .level = i});
  }
  head(plan, weights);
  return std::move(plan).finish();
}

std::int64_t width_of(Buffer buffer, const Description& description) {
  const LayerDescription& layer = description.layers.front();
  switch (buffer) {
    case Buffer::kQkv:
      return std::int64_t{layer.qkv_heads()} * layer.head_dim;
    case Buffer::kAttended:
      return std::int64_t{layer.heads} * layer.head_dim;
    case Buffer::kGateUp:
      return std::int64_t{2} * layer.intermediate_size;
    case Buffer::kActivated:
      return layer.intermediate_size;
    case Buffer::kLogits:
      return description.vocabulary_size;
    case Buffer::kHidden:
    case Buffer::kNormed:
    case Buffer::kBranch:
    case Buffer::kChosen:
      break;
  }
  return description.hidden_size;
}

}  // namespace hearth::decoder
