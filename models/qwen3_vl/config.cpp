#include "models/qwen3_vl/config.h"

#include "models/language/config_numbers.h"
#include "models/language/text_config.h"
#include "models/qwen3_tower/layout.h"

namespace hearth::qwen3_vl {
namespace {

using files::ConfigValue;

language::TextRules text_rules() {
  language::TextRules rules;
  rules.qk_norm = true;
  rules.published_theta = 5e6;
  rules.assumed_theta = 5e5;
  rules.sections = {24, 20, 20};
  rules.published_context_tokens = 262'144;
  rules.assumed_context_tokens = 128'000;
  rules.experts.always_normalised = true;
  return rules;
}

}  // namespace

bool has_our_names(const files::WeightIndex& index) {
  return language::has_qk_norm(index) && qwen3_tower::has_tower(index) &&
         qwen3_tower::has_deepstack(index);
}

Result<Config> read_config(const ConfigValue& json, const files::WeightIndex& index) {
  Config config;
  TRY(config.text, language::read_text(json, index, text_rules()));
  TRY(config.vision, qwen3_tower::read_vision(json, index, qwen3_tower::Deepstack::kRead,
                                              config.text.hidden_size));
  config.text.deepstack_layers = static_cast<std::int32_t>(config.vision.deepstack_layers.size());
  CHECK_OK(decoder::check(config.text));
  if (const ConfigValue token = json["image_token_id"]; token) {
    TRY(config.image_token, token.integer(0, language::kMostVocabulary));
  }
  TRY(config.end_tokens, language::read_end_tokens(json));
  config.tensors = decoder::tensors_of(config.text);
  config.tensors.merge(qwen3_tower::tensors_of(config.vision));
  return config;
}

}  // namespace hearth::qwen3_vl
