#include "models/qwen3_5/family.h"

#include "models/language/model.h"
#include "models/language/recognise.h"
#include "models/model.h"
#include "models/qwen3_5/config.h"
#include "models/qwen3_tower/tower.h"

namespace hearth::models {
const Family& qwen3_5_family();
}

namespace hearth::qwen3_5 {
namespace {

Result<language::Blueprint> read(const files::ConfigValue& json, const files::WeightIndex& index) {
  TRY(Config config, read_config(json, index));
  language::Blueprint blueprint;
  if (config.vision)
    blueprint.tower = qwen3_tower::blueprint_of(*config.vision, config.image_token);
  blueprint.text = std::move(config.text);
  blueprint.end_tokens = std::move(config.end_tokens);
  blueprint.tensors = std::move(config.tensors);
  using text::Thoughts;
  blueprint.layout = {.name = "Qwen3.5",
                      .default_system = {},
                      .pictures = blueprint.tower.has_value(),
                      .trims_thoughts = true,
                      .trims_turns = true,
                      .thoughts = {Thoughts::kSkipped, Thoughts::kOpened, Thoughts::kSkipped}};
  return blueprint;
}

}  // namespace

const language::FamilyRules& rules() {
  static const language::FamilyRules kRules = {
      "qwen3_5",
      {"qwen3_5", "qwen3_5_moe", "qwen3_5_text", "qwen3_5_moe_text"},
      has_our_names,
      read};
  return kRules;
}

}  // namespace hearth::qwen3_5

namespace hearth::models {

const Family& qwen3_5_family() {
  static const Family kFamily = language::family<qwen3_5::rules>();
  return kFamily;
}

}  // namespace hearth::models
