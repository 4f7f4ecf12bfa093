// Where the vision tower is in a checkpoint: tensor names and shapes, and what shapes tell.
#pragma once

#include <string>
#include <string_view>

#include "models/decoder/description.h"
#include "models/files/weight_index.h"
#include "models/qwen3_tower/config.h"

namespace hearth::qwen3_tower {

// Learned positions and an MLP of two linears: no other family's tower has both.
bool has_tower(const files::WeightIndex& index);
// Whether features are taken from within the tower, too.
bool has_deepstack(const files::WeightIndex& index);

// What shapes alone tell; 0 or empty where a tensor is missing.
struct Shapes {
  VisionConfig vision;
  std::int32_t deepstack_levels = 0;
};
Shapes read_shapes(const files::WeightIndex& index);

// The vision tower's names, unified.
std::string block_name(std::int32_t block, std::string_view rest);  // visual.blocks.3.attn.qkv
std::string deepstack_name(std::int32_t level, std::string_view rest);
decoder::TensorShapes tensors_of(const VisionConfig& vision);

}  // namespace hearth::qwen3_tower
