// Layers of the gated delta rule in a decoder: which they are, of what numbers, and what their
// tensors are called.
//
// Source of names and defaults: transformers 5.23, configuration_qwen3_5.py.
//
// Pure functions; any thread.
#pragma once

#include "models/decoder/description.h"
#include "models/files/config.h"
#include "models/files/weight_index.h"
#include "shm/base/result.h"

namespace hearth::language {

// Whether a layer has the tensors of the rule.
bool has_delta_layers(const files::WeightIndex& index);

// Makes those layers of `description` follow the delta rule that `text`, the part of config.json
// that describes the decoder, says (layer_types, else every full_attention_interval-th is full);
// without one, those that have its tensors. Errors: bad_model naming key or tensor; unsupported for
// another kind of layer.
Result<void> read_delta_layers(const files::ConfigValue& text, const files::WeightIndex& index,
                               decoder::Description& description);

}  // namespace hearth::language
