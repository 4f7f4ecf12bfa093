// The size a picture is brought to before it is cut into patches.
#pragma once

#include <cstdint>

#include "models/image/picture.h"
#include "shm/base/result.h"

namespace hearth::image {

struct PixelLimits {
  int factor = 32;                       // patch size times merge size
  std::int64_t min_pixels = 65'536;      // Qwen3-VL
  std::int64_t max_pixels = 16'777'216;  // Qwen3-VL
};

// How often the area counts towards the limits: a clip's frames, before and after they are rounded
// to whole steps.
struct FrameCount {
  std::int64_t sent = 1;
  std::int64_t counted = 1;
};

// Both sides become multiples of `factor`, the area lies within the limits and the shape is kept as
// well as can be: transformers' smart_resize (image_processing_qwen2_vl.py), halves rounded to
// even. Errors: bad_picture for an empty picture and for a side more than 200 times the other.
Result<Size> smart_resize(Size size, const PixelLimits& limits, FrameCount frames = {});

}  // namespace hearth::image
