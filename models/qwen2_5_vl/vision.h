// The vision tower: patches of pictures to features.
#pragma once

#include <memory>

#include "models/image/patchify.h"
#include "models/qwen2_5_vl/config.h"
#include "models/qwen2_5_vl/vision_weights.h"

namespace hearth::engine {
struct Compute;
class Tower;
}  // namespace hearth::engine

namespace hearth::qwen2_5_vl {

// `weights` points into memory that outlives the tower, and so does the Compute's device memory.
std::unique_ptr<engine::Tower> make_tower(const VisionConfig& config, VisionWeights weights,
                                          const engine::Compute& compute,
                                          const image::PictureRules& pictures);

// Device memory that a pass of so many patches takes.
std::uint64_t vision_scratch_bytes(const VisionConfig& config, HearthType type,
                                   std::int64_t patches);

}  // namespace hearth::qwen2_5_vl
