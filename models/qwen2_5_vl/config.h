// What a Qwen2.5-VL checkpoint is: the numbers of its decoder and of its windowed vision tower.
//
// Read from config.json where there is one; what it does not say, or all of it for a single file
// without one, comes from the tensors' shapes. Source of defaults: transformers 5.23,
// configuration_qwen2_5_vl.py.
//
// Plain values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/decoder/description.h"
#include "models/files/config.h"
#include "models/files/weight_index.h"
#include "shm/base/result.h"

namespace hearth::qwen2_5_vl {

struct VisionConfig {
  std::int32_t depth = 0;
  std::int32_t hidden_size = 0;
  std::int32_t heads = 16;
  std::int32_t intermediate_size = 0;
  std::int32_t patch_size = 14;
  std::int32_t temporal_patch_size = 2;
  std::int32_t merge_size = 2;
  std::int32_t window_size = 112;  // pixels
  std::int32_t out_hidden_size = 0;
  std::int32_t tokens_per_second = 2;               // positions that a second of video advances
  std::vector<std::int64_t> full_attention_blocks;  // the others see their window only

  std::int32_t head_dim() const { return hidden_size / heads; }
  std::int32_t patch_floats() const { return 3 * temporal_patch_size * patch_size * patch_size; }
  std::int32_t merged_size() const { return hidden_size * merge_size * merge_size; }
  std::int32_t window_tokens() const { return window_size / merge_size / patch_size; }  // a side
};

struct Config {
  decoder::Description text;
  VisionConfig vision;
  std::optional<std::int64_t> image_token;  // as config.json has it
  std::vector<std::int64_t> end_tokens;     // likewise; may be empty
  decoder::TensorShapes tensors;            // all that the model needs
};

// Tensors no other family has together: a tower with gated MLPs and no learned positions.
bool has_our_names(const files::WeightIndex& index);

// Errors: bad_model naming key or tensor; unsupported for what is of this family but not served.
Result<Config> read_config(const files::ConfigValue& json, const files::WeightIndex& index);

// The vision tower's names and shapes.
std::string block_name(std::int32_t block, std::string_view rest);  // visual.blocks.3.attn.qkv
decoder::TensorShapes tensors_of(const VisionConfig& vision);

}  // namespace hearth::qwen2_5_vl
