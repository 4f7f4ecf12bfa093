#include "models/qwen3_tower/tower.h"

#include "models/qwen3_tower/vision.h"
#include "models/qwen3_tower/vision_weights.h"
#include "models/torch/features.h"

namespace hearth::qwen3_tower {

// The same for every picture that a tower sees: it is copied into what makes the tower.
language::TowerBlueprint blueprint_of(const VisionConfig& vision,
                                      std::optional<std::int64_t> image_token) {
  language::TowerBlueprint tower;
  tower.pictures.patch_size = vision.patch_size;
  tower.pictures.merge_size = vision.merge_size;
  tower.pictures.temporal_patch_size = vision.temporal_patch_size;
  tower.image_token = image_token;
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

}  // namespace hearth::qwen3_tower
