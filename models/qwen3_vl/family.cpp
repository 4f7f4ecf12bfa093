#include "models/qwen3_vl/family.h"

#include "models/language/model.h"
#include "models/model.h"
#include "models/qwen3_tower/tower.h"
#include "models/qwen3_vl/config.h"

namespace hearth::models {
const Family& qwen3_vl_family();
}

namespace hearth::qwen3_vl {
namespace {

Result<language::Blueprint> read(const files::ConfigValue& json, const files::WeightIndex& index) {
  TRY(Config config, read_config(json, index));
  language::Blueprint blueprint;
  blueprint.tower = qwen3_tower::blueprint_of(config.vision, config.image_token);
  blueprint.text = std::move(config.text);
  blueprint.end_tokens = std::move(config.end_tokens);
  blueprint.tensors = std::move(config.tensors);
  blueprint.layout = {.name = "Qwen3-VL"};
  return blueprint;
}

}  // namespace

const language::FamilyRules& rules() {
  static const language::FamilyRules kRules = {
      "qwen3_vl", {"qwen3_vl", "qwen3_vl_moe"}, has_our_names, read};
  return kRules;
}

}  // namespace hearth::qwen3_vl

namespace hearth::models {

const Family& qwen3_vl_family() {
  static const Family kFamily = language::family<qwen3_vl::rules>();
  return kFamily;
}

}  // namespace hearth::models
