#include "models/qwen3_vl/layout.h"

#include <cmath>

#include <fmt/format.h>

namespace hearth::qwen3_vl {
namespace {

constexpr std::string_view kFirstLayer = "model.layers.0.";
constexpr std::string_view kFirstBlock = "visual.blocks.0.";

// A dimension of a tensor; 0 when there is no such tensor or dimension.
std::int32_t dim(const files::WeightIndex& index, std::string_view name, std::size_t axis) {
  const files::WeightEntry* entry = index.find(name);
  if (entry == nullptr || axis >= entry->shape.size()) return 0;
  return static_cast<std::int32_t>(entry->shape[axis]);
}

// How many of prefix0suffix, prefix1suffix … there are without a gap.
std::int32_t count(const files::WeightIndex& index, std::string_view prefix,
                   std::string_view suffix) {
  std::int32_t found = 0;
  while (index.find(fmt::format("{}{}{}", prefix, found, suffix)) != nullptr) ++found;
  return found;
}

std::int32_t divided(std::int32_t value, std::int32_t by) {
  return by > 0 ? value / by : 0;
}

decoder::LayerDescription read_layer(const files::WeightIndex& index) {
  const auto rows = [&](std::string_view name) {
    return dim(index, fmt::format("{}{}", kFirstLayer, name), 0);
  };
  decoder::LayerDescription layer;
  layer.qk_norm = true;
  layer.head_dim = rows("self_attn.q_norm.weight");
  layer.heads = divided(rows("self_attn.q_proj.weight"), layer.head_dim);
  layer.kv_heads = divided(rows("self_attn.k_proj.weight"), layer.head_dim);
  layer.intermediate_size = rows("mlp.gate_proj.weight");
  return layer;
}

VisionConfig read_vision(const files::WeightIndex& index) {
  constexpr std::string_view kPatches = "visual.patch_embed.proj.weight";
  VisionConfig vision;
  vision.depth = count(index, "visual.blocks.", ".norm1.weight");
  vision.hidden_size = dim(index, kPatches, 0);
  vision.temporal_patch_size = dim(index, kPatches, 2);
  vision.patch_size = dim(index, kPatches, 3);
  vision.intermediate_size = dim(index, fmt::format("{}mlp.linear_fc1.weight", kFirstBlock), 0);
  vision.position_rows = dim(index, "visual.pos_embed.weight", 0);
  vision.out_hidden_size = dim(index, "visual.merger.linear_fc2.weight", 0);
  const double merged =
      divided(dim(index, "visual.merger.linear_fc1.weight", 1), vision.hidden_size);
  vision.merge_size = static_cast<std::int32_t>(std::lround(std::sqrt(merged)));
  return vision;
}

void add_linear(decoder::TensorShapes& shapes, const std::string& name, std::int64_t out,
                std::int64_t in) {
  shapes[name + ".weight"] = {out, in};
  shapes[name + ".bias"] = {out};
}

void add_norm(decoder::TensorShapes& shapes, const std::string& name, std::int64_t width) {
  shapes[name + ".weight"] = {width};
  shapes[name + ".bias"] = {width};
}

void add_block(decoder::TensorShapes& shapes, const VisionConfig& vision, std::int32_t block) {
  const std::int64_t hidden = vision.hidden_size;
  add_norm(shapes, block_name(block, "norm1"), hidden);
  add_norm(shapes, block_name(block, "norm2"), hidden);
  add_linear(shapes, block_name(block, "attn.qkv"), 3 * hidden, hidden);
  add_linear(shapes, block_name(block, "attn.proj"), hidden, hidden);
  add_linear(shapes, block_name(block, "mlp.linear_fc1"), vision.intermediate_size, hidden);
  add_linear(shapes, block_name(block, "mlp.linear_fc2"), hidden, vision.intermediate_size);
}

void add_merger(decoder::TensorShapes& shapes, const VisionConfig& vision, const std::string& name,
                std::int64_t norm_width) {
  add_norm(shapes, name + "norm", norm_width);
  add_linear(shapes, name + "linear_fc1", vision.merged_size(), vision.merged_size());
  add_linear(shapes, name + "linear_fc2", vision.out_hidden_size, vision.merged_size());
}

}  // namespace

bool has_our_names(const files::WeightIndex& index) {
  return index.find(fmt::format("{}self_attn.q_norm.weight", kFirstLayer)) != nullptr &&
         index.find("visual.pos_embed.weight") != nullptr &&
         index.find(fmt::format("{}mlp.linear_fc1.weight", kFirstBlock)) != nullptr &&
         index.find("visual.deepstack_merger_list.0.norm.weight") != nullptr;
}

bool has_experts(const files::WeightIndex& index) {
  return index.find(fmt::format("{}mlp.gate.weight", kFirstLayer)) != nullptr;
}

Shapes read_shapes(const files::WeightIndex& index) {
  Shapes shapes;
  shapes.layer = read_layer(index);
  shapes.layers = count(index, "model.layers.", ".input_layernorm.weight");
  shapes.vocabulary_size = dim(index, "model.embed_tokens.weight", 0);
  shapes.hidden_size = dim(index, "model.embed_tokens.weight", 1);
  shapes.vision = read_vision(index);
  shapes.deepstack_levels = count(index, "visual.deepstack_merger_list.", ".norm.weight");
  return shapes;
}

void name_layer(decoder::LayerDescription& layer, std::int32_t index, bool biases) {
  const auto name = [&](std::string_view rest) {
    return fmt::format("model.layers.{}.{}", index, rest);
  };
  const auto attention = [&](std::string_view part) {
    const std::string stem = name(fmt::format("self_attn.{}_proj", part));
    return decoder::LinearNames{stem + ".weight", biases ? stem + ".bias" : std::string()};
  };
  const auto mlp = [&](std::string_view part) {
    return decoder::LinearNames{name(fmt::format("mlp.{}_proj.weight", part)), {}};
  };
  layer.attention_norm = name("input_layernorm.weight");
  layer.mlp_norm = name("post_attention_layernorm.weight");
  layer.q_norm = name("self_attn.q_norm.weight");
  layer.k_norm = name("self_attn.k_norm.weight");
  layer.q = attention("q");
  layer.k = attention("k");
  layer.v = attention("v");
  layer.output = attention("o");
  layer.gate = mlp("gate");
  layer.up = mlp("up");
  layer.down = mlp("down");
}

std::string block_name(std::int32_t block, std::string_view rest) {
  return fmt::format("visual.blocks.{}.{}", block, rest);
}

std::string deepstack_name(std::int32_t level, std::string_view rest) {
  return fmt::format("visual.deepstack_merger_list.{}.{}", level, rest);
}

decoder::TensorShapes tensors_of(const VisionConfig& vision) {
  const std::int64_t patch = vision.patch_size;
  decoder::TensorShapes shapes;
  shapes["visual.patch_embed.proj.weight"] = {vision.hidden_size, 3, vision.temporal_patch_size,
                                              patch, patch};
  shapes["visual.patch_embed.proj.bias"] = {vision.hidden_size};
  shapes["visual.pos_embed.weight"] = {vision.position_rows, vision.hidden_size};
  for (std::int32_t block = 0; block < vision.depth; ++block) add_block(shapes, vision, block);
  add_merger(shapes, vision, "visual.merger.", vision.hidden_size);
  for (std::size_t level = 0; level < vision.deepstack_layers.size(); ++level)
    add_merger(shapes, vision, deepstack_name(static_cast<std::int32_t>(level), ""),
               vision.merged_size());
  return shapes;
}

}  // namespace hearth::qwen3_vl
