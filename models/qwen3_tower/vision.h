// The vision tower: pictures to features, DeepStack levels included. Resizing, normalising and
// cutting are its first kernels.
#pragma once

#include <memory>

#include "models/image/patchify.h"
#include "models/qwen3_tower/config.h"
#include "models/qwen3_tower/vision_weights.h"

namespace hearth::engine {
struct Compute;
class Tower;
}  // namespace hearth::engine

namespace hearth::qwen3_tower {

// `weights` points into memory that outlives the tower, and so does the Compute's device memory.
// `rules` cut patches as `config` says.
std::unique_ptr<engine::Tower> make_tower(const VisionConfig& config, VisionWeights weights,
                                          const engine::Compute& compute,
                                          const image::PictureRules& rules);

// Device memory that a pass of so many patches takes.
std::uint64_t vision_scratch_bytes(const VisionConfig& config, HearthType type,
                                   std::int64_t patches);

}  // namespace hearth::qwen3_tower
