#include "models/qwen3_vl/family.h"

#include "models/language/model.h"
#include "models/model.h"
#include "models/qwen3_vl/config.h"
#include "models/qwen3_vl/layout.h"
#include "models/qwen3_vl/vision.h"
#include "models/qwen3_vl/vision_weights.h"
#include "models/torch/features.h"

namespace hearth::models {
const Family& qwen3_vl_family();
}

namespace hearth::qwen3_vl {
namespace {

// The same for every picture that a tower sees: it is copied into what makes the tower.
language::TowerBlueprint tower_of(const Config& config) {
  const VisionConfig vision = config.vision;
  language::TowerBlueprint tower;
  tower.pictures.patch_size = vision.patch_size;
  tower.pictures.merge_size = vision.merge_size;
  tower.pictures.temporal_patch_size = vision.temporal_patch_size;
  tower.image_token = config.image_token;
  tower.tensors = vision_tensors(vision);
  tower.scratch_bytes = [vision](HearthType type, std::int64_t patches) {
    return vision_scratch_bytes(vision, type, patches);
  };
  tower.make = [vision](const weights::Weights& weights, const engine::Compute& compute,
                        const image::PictureRules& pictures) {
    return make_tower(vision, vision_weights(weights, vision), compute, pictures);
  };
  return tower;
}

Result<language::Blueprint> read(const files::ConfigValue& json, const files::WeightIndex& index) {
  TRY(Config config, read_config(json, index));
  language::Blueprint blueprint;
  blueprint.tower = tower_of(config);
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
