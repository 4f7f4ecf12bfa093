// What a Qwen3-VL checkpoint is: the numbers of its decoder and of its vision tower.
//
// Read from config.json where there is one (nested or flat, rope_scaling or rope_parameters); what
// it does not say, or all of it for a single file without one, comes from the tensors' shapes.
// Source of defaults: transformers 5.23, configuration_qwen3_vl.py and
// configuration_qwen3_vl_moe.py.
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

namespace hearth::qwen3_vl {

struct VisionConfig {
  std::int32_t depth = 0;
  std::int32_t hidden_size = 0;
  std::int32_t heads = 16;
  std::int32_t intermediate_size = 0;
  std::int32_t patch_size = 16;
  std::int32_t temporal_patch_size = 2;
  std::int32_t merge_size = 2;
  std::int32_t position_rows = 0;  // of the learned table, a square grid
  std::int32_t out_hidden_size = 0;
  double rope_theta = 10'000.0;
  std::vector<std::int64_t> deepstack_layers;  // feature level i is taken after this block

  std::int32_t head_dim() const { return hidden_size / heads; }
  std::int32_t patch_floats() const { return 3 * temporal_patch_size * patch_size * patch_size; }
  std::int32_t merged_size() const { return hidden_size * merge_size * merge_size; }
};

struct Config {
  decoder::Description text;
  VisionConfig vision;
  std::optional<std::int64_t> image_token;  // as config.json has it
  std::vector<std::int64_t> end_tokens;     // likewise; may be empty
  decoder::TensorShapes tensors;            // all that the model needs
};

// Errors: bad_model naming key or tensor; unsupported for what is of this family but not served:
// scaled rope, other activations, encoder-only files.
Result<Config> read_config(const files::ConfigValue& json, const files::WeightIndex& index);

}  // namespace hearth::qwen3_vl
