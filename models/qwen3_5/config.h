// What a Qwen3.5 checkpoint is: the numbers of its decoder and, where it sees, of its vision tower.
//
// Read from config.json where there is one; what it does not say, or all of it for a single file
// without one, comes from the tensors' shapes. Tensors of the head for drafts (mtp.*) are left out:
// hearth draws one token a step. Source of defaults: transformers 5.23, configuration_qwen3_5.py
// and configuration_qwen3_5_moe.py.
//
// Plain values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/decoder/description.h"
#include "models/files/config.h"
#include "models/files/weight_index.h"
#include "models/qwen3_tower/config.h"
#include "shm/base/result.h"

namespace hearth::qwen3_5 {

struct Config {
  decoder::Description text;
  std::optional<qwen3_tower::VisionConfig> vision;  // none: text only
  std::optional<std::int64_t> image_token;          // as config.json has it
  std::vector<std::int64_t> end_tokens;             // likewise; may be empty
  decoder::TensorShapes tensors;                    // all that the model needs
};

// Layers of the delta rule: no other family has some.
bool has_our_names(const files::WeightIndex& index);

// Errors: bad_model naming key or tensor; unsupported for what is of this family but not served:
// scaled rope, other activations or layers, encoder-only files.
Result<Config> read_config(const files::ConfigValue& json, const files::WeightIndex& index);

}  // namespace hearth::qwen3_5
