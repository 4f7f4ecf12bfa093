#include "models/qwen_text/family.h"

#include "models/language/config_numbers.h"
#include "models/language/model.h"
#include "models/language/recognise.h"
#include "models/language/text_config.h"
#include "models/model.h"

namespace hearth::models {
const Family& qwen_text_family();
}

namespace hearth::qwen_text {
namespace {

using files::ConfigValue;

language::TextRules rules_of(bool third_generation) {
  language::TextRules rules;
  rules.qk_norm = third_generation;
  rules.qkv_biases = !third_generation;
  rules.published_theta = 1e6;
  rules.assumed_theta = 1e4;
  rules.published_context_tokens = third_generation ? 40'960 : 32'768;
  rules.assumed_context_tokens = 32'768;
  return rules;
}

text::ChatLayout layout_of(bool third_generation) {
  if (third_generation) return {.name = "Qwen3", .default_system = {}, .pictures = false};
  return {.name = "Qwen2.5",
          .default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
          .pictures = false};
}

bool has_our_names(const files::WeightIndex& index) {
  return (language::has_qk_norm(index) || language::has_qkv_biases(index)) &&
         index.find("visual.patch_embed.proj.weight") == nullptr;
}

Result<language::Blueprint> read(const ConfigValue& json, const files::WeightIndex& index) {
  const bool third_generation = language::has_qk_norm(index);
  language::Blueprint blueprint;
  TRY(blueprint.text, language::read_text(json, index, rules_of(third_generation)));
  CHECK_OK(decoder::check(blueprint.text));
  TRY(blueprint.end_tokens, language::read_end_tokens(json));
  blueprint.tensors = decoder::tensors_of(blueprint.text);
  blueprint.layout = layout_of(third_generation);
  return blueprint;
}

}  // namespace

const language::FamilyRules& rules() {
  static const language::FamilyRules kRules = {
      "qwen_text", {"qwen2", "qwen3", "qwen3_moe"}, has_our_names, read};
  return kRules;
}

}  // namespace hearth::qwen_text

namespace hearth::models {

const Family& qwen_text_family() {
  static const Family kFamily = language::family<qwen_text::rules>();
  return kFamily;
}

}  // namespace hearth::models
