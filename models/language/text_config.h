// The decoder of a Qwen checkpoint: numbers from config.json, or from the tensors' shapes where it
// does not say or is not there, and the names of its tensors.
//
// Understands flat and nested (text_config) files, rope_scaling and rope_parameters. Source of
// names and defaults: transformers 5.23, configuration_qwen2.py, configuration_qwen3.py and their
// vision-language relatives.
//
// Pure functions; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "models/decoder/description.h"
#include "models/files/config.h"
#include "models/files/weight_index.h"
#include "models/language/experts_config.h"
#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::language {

// What the decoders of one family have in common.
struct TextRules {
  bool qk_norm = false;  // of queries and keys over head_dim (Qwen3)
  // Queries, keys and values have biases and the output has none, whatever config.json says
  // (Qwen2). false: attention_bias says it of all four.
  bool qkv_biases = false;
  double published_theta = 1e6;            // of files without a config.json
  double assumed_theta = 1e4;              // of a config.json that does not say
  std::array<std::int32_t, 3> sections{};  // of M-RoPE; all zero: text has one axis
  bool interleaved = true;
  std::int32_t published_context_tokens = 32'768;
  std::int32_t assumed_context_tokens = 32'768;
  // Qwen3.5: layers of the delta rule between gated attention (delta_config.h), a part of each head
  // rotated, norms stored less one.
  bool hybrid = false;
  ExpertRules experts;
};

// config.json, or an absent value when there is none. Errors: bad_model.
Result<files::ConfigValue> read_config_json(const models::ModelFiles& files);

// Whether layer 0 has the norms of queries and keys, or their biases.
bool has_qk_norm(const files::WeightIndex& index);
bool has_qkv_biases(const files::WeightIndex& index);

// `json`: the whole config.json, or absent. Errors: bad_model naming key or tensor; unsupported for
// scaled rope, other activations and sliding windows. Whether the numbers fit each other is left to
// decoder::check.
Result<decoder::Description> read_text(const files::ConfigValue& json,
                                       const files::WeightIndex& index, const TextRules& rules);

// Of a description that is encoder_only. unsupported.
Error cannot_generate(const decoder::Description& description);

// As config.json has them; may be empty.
Result<std::vector<std::int64_t>> read_end_tokens(const files::ConfigValue& json);

}  // namespace hearth::language
