// The numbers of the vision tower that Qwen3-VL and Qwen3.5 have in common.
//
// Read from the vision_config of config.json where there is one; what it does not say comes from
// the tensors' shapes. Source of defaults: transformers 5.23, configuration_qwen3_vl.py and
// configuration_qwen3_5.py.
//
// Plain values; any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "models/files/config.h"
#include "models/files/weight_index.h"
#include "shm/base/result.h"

namespace hearth::qwen3_tower {

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
  // Feature level i is taken after this block. Qwen3.5 has none.
  std::vector<std::int64_t> deepstack_layers;

  std::int32_t head_dim() const { return hidden_size / heads; }
  std::int32_t patch_floats() const { return 3 * temporal_patch_size * patch_size * patch_size; }
  std::int32_t merged_size() const { return hidden_size * merge_size * merge_size; }
};

enum class Deepstack { kRead, kNone };

// `json`: the whole config.json, or absent. `text_hidden_size`: of the decoder that the tower sees
// for. Errors: bad_model naming key or tensor; unsupported for other activations.
Result<VisionConfig> read_vision(const files::ConfigValue& json, const files::WeightIndex& index,
                                 Deepstack deepstack, std::int32_t text_hidden_size);

}  // namespace hearth::qwen3_tower
