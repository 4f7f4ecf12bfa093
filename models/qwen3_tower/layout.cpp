#include "models/qwen3_tower/layout.h"

#include <cmath>

#include <fmt/format.h>

#include "models/language/config_numbers.h"

namespace hearth::qwen3_tower {
namespace {

constexpr std::string_view kFirstBlock = "visual.blocks.0.";

using language::count_tensors;
using language::dimension;

VisionConfig read_vision(const files::WeightIndex& index) {
  constexpr std::string_view kPatches = "visual.patch_embed.proj.weight";
  VisionConfig vision;
  vision.depth = count_tensors(index, "visual.blocks.", ".norm1.weight");
  vision.hidden_size = dimension(index, kPatches, 0);
  vision.temporal_patch_size = dimension(index, kPatches, 2);
  vision.patch_size = dimension(index, kPatches, 3);
  vision.intermediate_size =
      dimension(index, fmt::format("{}mlp.linear_fc1.weight", kFirstBlock), 0);
  vision.position_rows = dimension(index, "visual.pos_embed.weight", 0);
  vision.out_hidden_size = dimension(index, "visual.merger.linear_fc2.weight", 0);
  const double merged =
      language::divided(dimension(index, "visual.merger.linear_fc1.weight", 1), vision.hidden_size);
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

bool has_tower(const files::WeightIndex& index) {
  return index.find("visual.pos_embed.weight") != nullptr &&
         index.find(fmt::format("{}mlp.linear_fc1.weight", kFirstBlock)) != nullptr;
}

bool has_deepstack(const files::WeightIndex& index) {
  return index.find(deepstack_name(0, "norm.weight")) != nullptr;
}

Shapes read_shapes(const files::WeightIndex& index) {
  Shapes shapes;
  shapes.vision = read_vision(index);
  shapes.deepstack_levels = count_tensors(index, "visual.deepstack_merger_list.", ".norm.weight");
  return shapes;
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

}  // namespace hearth::qwen3_tower
