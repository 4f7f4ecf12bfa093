// How large the frames of a clip become, and how many pixels a clip may have.
//
// Plain functions on values; any thread. Sources: transformers 5.23, video_processing_qwen2_vl.py
// and video_processing_qwen3_vl.py.
#pragma once

#include <cstdint>
#include <optional>

#include "models/image/patchify.h"
#include "models/image/picture.h"
#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::image {

// How a family wants its clips; the defaults are those published for Qwen3-VL.
struct ClipRules {
  // What the limits count: frames * height * width (Qwen3-VL and later), or each frame by itself,
  // which is resized as a picture (Qwen2.5-VL).
  enum class Count { kAllFrames, kEachFrame };
  Count count = Count::kAllFrames;
  std::int64_t min_pixels = 4'096;
  std::int64_t max_pixels = 25'165'824;
  // cap_pixels_per_frame: all frames: the most tokens of each; each frame: of a context, nine
  // tenths of which the whole clip may take.
  std::optional<std::int64_t> cap_tokens;
};

// video_preprocessor_config.json; else the video_processor of processor_config.json; else, as
// transformers does, preprocessor_config.json; without any of them the defaults. `pictures`: how
// the tower's pictures are cut and normalised, which must be the same. Errors: bad_model naming
// file and key; unsupported for steps hearth does not do.
Result<ClipRules> read_clip_rules(const models::ModelFiles& files, ClipRules defaults,
                                  const PictureRules& pictures);

// Smallest and largest number of pixels of all frames of a clip together that somebody asked for;
// 0: not asked. They take the place of the rules' own. Errors: bad_request when min > max.
Result<ClipRules> with_limits(ClipRules rules, std::int64_t min_pixels, std::int64_t max_pixels,
                              std::int64_t frames);

// What each of the `frames` frames of this size is brought to. Errors: bad_picture as smart_resize.
Result<Size> clip_size(Size size, std::int64_t frames, const ClipRules& rules,
                       const PictureRules& pictures);

}  // namespace hearth::image
