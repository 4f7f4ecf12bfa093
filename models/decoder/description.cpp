#include "models/decoder/description.h"

#include <algorithm>
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

// Limits of the kernels for one token (cpu/rows.h, cuda/delta.cu).
constexpr std::int32_t kMostDeltaDim = 512;
constexpr std::int32_t kMostTaps = 16;

Result<void> check_delta_rule(const DeltaRule& delta) {
  if (delta.key_heads < 1 || delta.value_heads < 1 || delta.value_heads % delta.key_heads != 0)
    return bad(fmt::format("{} value heads do not divide among {} key heads", delta.value_heads,
                           delta.key_heads));
  if (delta.key_dim < 1 || delta.value_dim < 1 || delta.taps < 2)
    return bad(fmt::format("a delta rule with keys of {}, values of {} and {} taps", delta.key_dim,
                           delta.value_dim, delta.taps));
  if (delta.key_dim > kMostDeltaDim || delta.value_dim > kMostDeltaDim || delta.taps > kMostTaps)
    return fail(Code::kUnsupported,
                fmt::format("the decoder: a delta rule with keys of {}, values of {} and {} taps; "
                            "hearth computes at most {}, {} and {}",
                            delta.key_dim, delta.value_dim, delta.taps, kMostDeltaDim,
                            kMostDeltaDim, kMostTaps));
  return {};
}

bool have_equal_states(const DeltaRule& a, const DeltaRule& b) {
  return a.key_heads == b.key_heads && a.value_heads == b.value_heads && a.key_dim == b.key_dim &&
         a.value_dim == b.value_dim && a.taps == b.taps;
}

Result<void> check_recurrent(const Description& description) {
  const DeltaRule* delta = description.delta_rule();
  if (description.attention_layers() == 0) return bad("no layer has attention");
  if (delta == nullptr) return {};
  for (const LayerDescription& layer : description.layers)
    if (layer.is_recurrent() && !have_equal_states(layer.delta, *delta))
      return bad("layers with different delta rules");
  return check_delta_rule(*delta);
}

Result<void> check_rope(const Rope& rope, std::int32_t rotated, std::int32_t head_dim) {
  if (rotated < 2 || rotated % 2 != 0 || rotated > head_dim)
    return bad(fmt::format("{} of a head's {} channels are rotated", rotated, head_dim));
  const std::int32_t sum = std::accumulate(rope.sections.begin(), rope.sections.end(), 0);
  if (sum != 0 && sum != rotated / 2)
    return bad(fmt::format("M-RoPE sections add up to {}, half of what is rotated is {} channels",
                           sum, rotated / 2));
  if (!(rope.theta > 0.0)) return bad(fmt::format("a rope theta of {}", rope.theta));
  return {};
}

void add_linear(TensorShapes& shapes, const LinearNames& names, std::int64_t out, std::int64_t in) {
  shapes[names.weight] = {out, in};
  if (!names.bias.empty()) shapes[names.bias] = {out};
}

void add_separate(TensorShapes& shapes, const ExpertsDescription::Separate& names,
                  std::int64_t inter, std::int64_t hidden) {
  shapes[names.gate] = shapes[names.up] = {inter, hidden};
  shapes[names.down] = {hidden, inter};
}

void add_experts(TensorShapes& shapes, const ExpertsDescription& experts, std::int64_t hidden) {
  const std::int64_t inter = experts.intermediate_size;
  shapes[experts.router] = {experts.count, hidden};
  for (const ExpertsDescription::Separate& names : experts.separate)
    add_separate(shapes, names, inter, hidden);
  if (experts.has_shared()) {
    shapes[experts.shared_gate] = {1, hidden};
    add_separate(shapes, experts.shared, experts.shared_intermediate_size, hidden);
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

void add_delta_rule(TensorShapes& shapes, const LayerDescription& layer, std::int64_t hidden) {
  const DeltaRule& delta = layer.delta;
  shapes[delta.input_qkv] = {delta.channels(), hidden};
  shapes[delta.input_z] = {delta.values(), hidden};
  shapes[delta.input_b] = shapes[delta.input_a] = {delta.value_heads, hidden};
  shapes[delta.convolution] = {delta.channels(), 1, delta.taps};
  shapes[delta.a_log] = shapes[delta.dt_bias] = {delta.value_heads};
  shapes[delta.norm] = {delta.value_dim};
  add_linear(shapes, layer.output, hidden, delta.values());
}

void add_attention(TensorShapes& shapes, const LayerDescription& layer, std::int64_t hidden) {
  const std::int64_t attended = std::int64_t{layer.heads} * layer.head_dim;
  const std::int64_t kv_rows = std::int64_t{layer.kv_heads} * layer.head_dim;
  add_linear(shapes, layer.q, layer.gated ? 2 * attended : attended, hidden);
  add_linear(shapes, layer.k, kv_rows, hidden);
  add_linear(shapes, layer.v, kv_rows, hidden);
  add_linear(shapes, layer.output, hidden, attended);
  if (!layer.qk_norm) return;
  shapes[layer.q_norm] = {layer.head_dim};
  shapes[layer.k_norm] = {layer.head_dim};
}

void add_layer(TensorShapes& shapes, const LayerDescription& layer, std::int64_t hidden) {
  shapes[layer.attention_norm] = {hidden};
  shapes[layer.mlp_norm] = {hidden};
  layer.is_recurrent() ? add_delta_rule(shapes, layer, hidden)
                       : add_attention(shapes, layer, hidden);
  add_mlp(shapes, layer, hidden);
}

}  // namespace

std::int32_t Description::recurrent_layers() const {
  return static_cast<std::int32_t>(
      std::count_if(layers.begin(), layers.end(),
                    [](const LayerDescription& layer) { return layer.is_recurrent(); }));
}

std::int32_t Description::attention_layers() const {
  return static_cast<std::int32_t>(layers.size()) - recurrent_layers();
}

const DeltaRule* Description::delta_rule() const {
  const auto found = std::find_if(layers.begin(), layers.end(), [](const LayerDescription& layer) {
    return layer.is_recurrent();
  });
  return found == layers.end() ? nullptr : &found->delta;
}

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
  CHECK_OK(check_recurrent(description));
  return check_rope(description.rope, description.rotated(), first.head_dim);
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
  const LayerDescription& layer = description.layers.front();
  const auto layers = static_cast<std::uint64_t>(description.attention_layers());
  return 2 * layers * static_cast<std::uint64_t>(layer.kv_heads * layer.head_dim) * item_bytes;
}

}  // namespace hearth::decoder
