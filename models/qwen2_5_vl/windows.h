// How the patches of pictures are ordered and who sees whom.
//
// The tower reads merge blocks (merge_size² patches, one token each) window by window, so that a
// window is one run of rows. Source: transformers 5.23, get_vision_window_index (vision_utils.py).
//
// Plain values; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/image/patchify.h"
#include "models/qwen2_5_vl/config.h"

namespace hearth::qwen2_5_vl {

// Of all pictures of a pass, one after another.
struct PatchOrder {
  std::vector<std::int64_t> tokens;     // [tokens]: which token, in merge-block order, stands here
  std::vector<std::int64_t> places;     // [tokens]: where token i stands; the inverse
  std::vector<std::int32_t> positions;  // [3, patches] in the order of rows: 0, row, column
  std::vector<std::int32_t> pictures;   // [pictures + 1]: first patch of each
  std::vector<std::int32_t> windows;    // [windows + 1]: first patch of each

  std::int64_t patches() const { return pictures.back(); }
};

PatchOrder order_patches(const VisionConfig& config, std::span<const image::Still* const> pictures);

}  // namespace hearth::qwen2_5_vl
