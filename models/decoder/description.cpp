#include "models/decoder/description.h"

#include <numeric>

#include <fmt/format.h>

#include "models/kernels/kernels.h"

namespace hearth::decoder {
namespace {

Error bad(std::string what) {
  return fail(Code::kBadModel, "the decoder: " + std::move(what));
}

Result<void> check_heads(const LayerDescription& layer) {
  if (layer.heads < 1 || layer.kv_heads < 1 || layer.heads % layer.kv_heads != 0)
    return bad(fmt::format("{} query heads do not divide among {} key heads", layer.heads,
                           layer.kv_heads));
  if (layer.head_dim < 2 || layer.head_dim % 2 != 0)
    return bad(fmt::format("a head has {} channels, which cannot be rotated", layer.head_dim));
  return {};
}

Result<void> check_experts(const ExpertsDescription& experts) {
  if (experts.chosen < 1 || experts.chosen > experts.count)
    return bad(fmt::format("{} of {} experts for a token", experts.chosen, experts.count));
  if (experts.intermediate_size < 1)
    return bad(fmt::format("experts of {} channels", experts.intermediate_size));
  if (experts.files == ExpertFiles::kSeparate &&
      experts.separate.size() != static_cast<std::size_t>(experts.count))
    return bad(fmt::format("{} experts, but names of {}", experts.count, experts.separate.size()));
  if (experts.count > HEARTH_MAX_EXPERTS || experts.chosen > HEARTH_MAX_CHOSEN)
    return fail(Code::kUnsupported,
                fmt::format("the decoder: {} of {} experts for a token; hearth computes at most {} "
                            "of {}",
                            experts.chosen, experts.count, static_cast<int>(HEARTH_MAX_CHOSEN),
                            static_cast<int>(HEARTH_MAX_EXPERTS)));
  return {};
}

Result<void> check_mlp(const LayerDescription& layer) {
  if (layer.mlp == MlpKind::kExperts) return check_experts(layer.experts);
  if (layer.intermediate_size < 1)
    return bad(fmt::format("an MLP of {} channels", layer.intermediate_size));
  return {};
}

Result<void> check_rope(const Rope& rope, std::int32_t head_dim) {
  const std::int32_t sum = std::accumulate(rope.sections.begin(), rope.sections.end(), 0);
  if (sum != 0 && sum != head_dim / 2)
    return bad(fmt::format("M-RoPE sections add up to {}, half a head has {} channels", sum,
                           head_dim / 2));
  if (!(rope.theta > 0.0)) return bad(fmt::format("a rope theta of {}", rope.theta));
  return {};
}

void add_linear(TensorShapes& shapes, const LinearNames& names, std::int64_t out, std::int64_t in) {
  shapes[names.weight] = {out, in};
  if (!names.bias.empty()) shapes[names.bias] = {out};
}

void add_experts(TensorShapes& shapes, const ExpertsDescription& experts, std::int64_t hidden) {
  const std::int64_t inter = experts.intermediate_size;
  shapes[experts.router] = {experts.count, hidden};
  for (const ExpertsDescription::Separate& names : experts.separate) {
    shapes[names.gate] = shapes[names.up] = {inter, hidden};
    shapes[names.down] = {hidden, inter};
  }
  if (experts.files == ExpertFiles::kFused) {
    shapes[experts.gate_up] = {experts.count, 2 * inter, hidden};
    shapes[experts.down] = {experts.count, hidden, inter};
  }
  if (experts.files == ExpertFiles::kFusedTransposed) {
    shapes[experts.gate_up] = {experts.count, hidden, 2 * inter};
    shapes[experts.down] = {experts.count, inter, hidden};
  }
}

void add_mlp(TensorShapes& shapes, const LayerDescription& layer, std::int64_t hidden) {
  if (layer.mlp == MlpKind::kExperts) return add_experts(shapes, layer.experts, hidden);
  add_linear(shapes, layer.gate, layer.intermediate_size, hidden);
  add_linear(shapes, layer.up, layer.intermediate_size, hidden);
  add_linear(shapes, layer.down, hidden, layer.intermediate_size);
}

void add_layer(TensorShapes& shapes, const LayerDescription& layer, std::int64_t hidden) {
  const std::int64_t q_rows = std::int64_t{layer.heads} * layer.head_dim;
  const std::int64_t kv_rows = std::int64_t{layer.kv_heads} * layer.head_dim;
  shapes[layer.attention_norm] = {hidden};
  shapes[layer.mlp_norm] = {hidden};
  add_linear(shapes, layer.q, q_rows, hidden);
  add_linear(shapes, layer.k, kv_rows, hidden);
  add_linear(shapes, layer.v, kv_rows, hidden);
  add_linear(shapes, layer.output, hidden, q_rows);
  add_mlp(shapes, layer, hidden);
  if (!layer.qk_norm) return;
  shapes[layer.q_norm] = {layer.head_dim};
  shapes[layer.k_norm] = {layer.head_dim};
}

}  // namespace

Result<void> check(const Description& description) {
  if (description.layers.empty()) return bad("no layers");
  if (description.hidden_size < 1 || description.vocabulary_size < 1)
    return bad(fmt::format("hidden size {}, vocabulary {}", description.hidden_size,
                           description.vocabulary_size));
  const auto layers = static_cast<std::int32_t>(description.layers.size());
  if (description.deepstack_layers < 0 || description.deepstack_layers > layers)
    return bad(fmt::format("DeepStack features for {} of {} layers", description.deepstack_layers,
                           layers));
  const LayerDescription& first = description.layers.front();
  for (const LayerDescription& layer : description.layers) {
    CHECK_OK(check_heads(layer));
    CHECK_OK(check_mlp(layer));
    if (layer.heads != first.heads || layer.kv_heads != first.kv_heads ||
        layer.head_dim != first.head_dim)
      return bad("layers with different heads");
  }
  return check_rope(description.rope, first.head_dim);
}

TensorShapes tensors_of(const Description& description) {
  const std::int64_t hidden = description.hidden_size;
  TensorShapes shapes;
  shapes[description.embedding] = {description.vocabulary_size, hidden};
  shapes[description.final_norm] = {hidden};
  if (!description.tied_head())
    add_linear(shapes, description.head, description.vocabulary_size, hidden);
  for (const LayerDescription& layer : description.layers) add_layer(shapes, layer, hidden);
  return shapes;
}

std::uint64_t kv_bytes_per_token(const Description& description, std::size_t item_bytes) {
  std::uint64_t bytes = 0;
  for (const LayerDescription& layer : description.layers)
    bytes +=
        std::uint64_t{2} * static_cast<std::uint64_t>(layer.kv_heads * layer.head_dim) * item_bytes;
  return bytes;
}

}  // namespace hearth::decoder
