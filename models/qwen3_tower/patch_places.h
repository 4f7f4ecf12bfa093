// Where the patches of pictures stand: what their rotations and learned positions depend on.
//
// Source: transformers 5.23, Qwen3VLVisionModel (modeling_qwen3_vl.py) and vision_utils.py. Plain
// values; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/image/patchify.h"
#include "models/qwen3_tower/config.h"

namespace hearth::qwen3_tower {

// Of all pictures of a pass, one after another, each in merge-block order.
struct PatchPlaces {
  std::vector<std::int32_t> segments;   // [pictures + 1]: first patch of each
  std::vector<std::int32_t> positions;  // [3, patches]: 0, row, column
  // The four learned positions around a patch, and how much of each. [patches, 4]
  std::vector<std::int64_t> corners;
  std::vector<float> weights;

  std::int64_t patches() const { return segments.back(); }
};

PatchPlaces place_patches(const VisionConfig& config,
                          std::span<const image::Still* const> pictures);

}  // namespace hearth::qwen3_tower
