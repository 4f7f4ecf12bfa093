// Mixtures of experts in a decoder: which layers have one, of what numbers, and where files hold
// its tensors.
//
// Files of one tensor an expert and linear, and fused ones in both orders (ExpertFiles) are told
// apart by names and shapes. Source of names and defaults: transformers 5.23,
// configuration_qwen3_moe.py, configuration_qwen3_vl_moe.py.
//
// Pure functions; any thread.
#pragma once

#include "models/decoder/description.h"
#include "models/files/config.h"
#include "models/files/weight_index.h"
#include "shm/base/result.h"

namespace hearth::language {

// What a family's routers do that config.json need not say.
struct ExpertRules {
  bool always_normalised = false;   // whatever norm_topk_prob says
  bool assumed_normalised = false;  // of a config.json without it
  bool shared = false;              // every mixture has a shared expert, too
};

// Gives experts to the layers of `description` that have some; the others stay as they are.
// `text`: the part of config.json that describes the decoder, or absent; then the routers that are
// there tell which layers have experts. Errors: bad_model naming key or tensor.
Result<void> read_experts(const files::ConfigValue& text, const files::WeightIndex& index,
                          const ExpertRules& rules, decoder::Description& description);

}  // namespace hearth::language
