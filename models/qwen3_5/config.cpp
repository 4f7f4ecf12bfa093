#include "models/qwen3_5/config.h"

#include "models/language/config_numbers.h"
#include "models/language/delta_config.h"
#include "models/language/text_config.h"
#include "models/qwen3_tower/layout.h"

namespace hearth::qwen3_5 {
namespace {

using files::ConfigValue;

language::TextRules text_rules() {
  language::TextRules rules;
  rules.qk_norm = true;
  rules.hybrid = true;
  rules.published_theta = 1e7;
  rules.assumed_theta = 1e4;
  rules.sections = {11, 11, 10};
  rules.published_context_tokens = 262'144;
  rules.assumed_context_tokens = 32'768;
  rules.experts = {.always_normalised = true, .assumed_normalised = true, .shared = true};
  return rules;
}

}  // namespace

bool has_our_names(const files::WeightIndex& index) {
  return language::has_delta_layers(index);
}

Result<Config> read_config(const ConfigValue& json, const files::WeightIndex& index) {
  Config config;
  TRY(config.text, language::read_text(json, index, text_rules()));
  CHECK_OK(decoder::check(config.text));
  config.tensors = decoder::tensors_of(config.text);
  TRY(config.end_tokens, language::read_end_tokens(json));
  // A config.json that describes a tower promises one.
  if (!json["vision_config"] && !qwen3_tower::has_tower(index)) return config;
  TRY(config.vision, qwen3_tower::read_vision(json, index, qwen3_tower::Deepstack::kNone,
                                              config.text.hidden_size));
  config.tensors.merge(qwen3_tower::tensors_of(*config.vision));
  if (const ConfigValue token = json["image_token_id"]; token) {
    TRY(config.image_token, token.integer(0, language::kMostVocabulary));
  }
  return config;
}

}  // namespace hearth::qwen3_5
