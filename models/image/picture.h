// A picture as every step after this one wants it: u8 RGB, dense, in memory of our own.
//
// Threads: plain functions on values; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "shm/base/result.h"
#include "shm/tensor.h"

namespace hearth::image {

struct Size {
  int height = 0;
  int width = 0;
  bool operator==(const Size&) const = default;
};

struct Picture {
  Size size;
  std::vector<std::uint8_t> pixels;  // [height, width, 3]
};

// Of a tensor's shape, which must be [height, width, channels] with 1, 3 or 4 channels. Errors:
// bad_picture for another shape or an empty picture.
Result<Size> picture_size(std::span<const std::int64_t> shape);

// Copies a client's tensor once: u8 or f32 [height, width, channels], channels 1, 3 or 4.
//   gray      repeated three times
//   RGBA      over white, with the arithmetic of transformers 5's fast processor for arrays
//   f32       0..1 -> round(255 x), clamped
// The memory behind `tensor` may change while it is read; the result is a picture all the same.
// Errors: bad_picture for another shape or type, an empty picture, NaN or infinity.
Result<Picture> copy_picture(const TensorView& tensor);

}  // namespace hearth::image
