#include "models/qwen2_5_vl/family.h"

#include "models/language/model.h"
#include "models/model.h"
#include "models/qwen2_5_vl/config.h"
#include "models/qwen2_5_vl/vision.h"
#include "models/qwen2_5_vl/vision_weights.h"
#include "models/torch/features.h"

namespace hearth::models {
const Family& qwen2_5_vl_family();
}

namespace hearth::qwen2_5_vl {
namespace {

// Of files without a preprocessor_config.json: the published ones.
constexpr std::int64_t kLeastPixels = 4 * 28 * 28;
constexpr std::int64_t kMostPixels = 16384 * 28 * 28;

// The same for every picture that a tower sees: it is copied into what makes the tower.
language::TowerBlueprint tower_of(const Config& config) {
  const VisionConfig vision = config.vision;
  language::TowerBlueprint tower;
  tower.pictures.patch_size = vision.patch_size;
  tower.pictures.merge_size = vision.merge_size;
  tower.pictures.temporal_patch_size = vision.temporal_patch_size;
  tower.pictures.min_pixels = kLeastPixels;
  tower.pictures.max_pixels = kMostPixels;
  tower.pictures.mean = {0.48145466, 0.4578275, 0.40821073};
  tower.pictures.std = {0.26862954, 0.26130258, 0.27577711};
  tower.image_token = config.image_token;
  tower.clips.count = image::ClipRules::Count::kEachFrame;
  tower.clips.min_pixels = kLeastPixels;
  tower.clips.max_pixels = kMostPixels;
  tower.positions_per_second = vision.tokens_per_second;
  tower.coordinates = "pixels";
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
  blueprint.layout = {.name = "Qwen2.5-VL", .default_system = "You are a helpful assistant."};
  return blueprint;
}

}  // namespace

const language::FamilyRules& rules() {
  static const language::FamilyRules kRules = {"qwen2_5_vl", {"qwen2_5_vl"}, has_our_names, read};
  return kRules;
}

}  // namespace hearth::qwen2_5_vl

namespace hearth::models {

const Family& qwen2_5_vl_family() {
  static const Family kFamily = language::family<qwen2_5_vl::rules>();
  return kFamily;
}

}  // namespace hearth::models
