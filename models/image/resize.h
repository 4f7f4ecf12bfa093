// Bicubic resampling with antialias on u8, bit for bit as ATen does it on a CPU
// (_upsample_bicubic2d_aa for uint8, which torchvision's resize and transformers' fast processor
// call).
//
// The arithmetic on pixels is HearthResample's (models/kernels/kernels.h), on whatever device; here
// are its weights. Plain functions on values; any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "models/image/picture.h"
#include "models/kernels/kernels.h"

namespace hearth::image {

// For every output place of an axis, which input places count and how much.
struct Taps {
  int most = 0;                       // weights kept for each output place
  int precision = 0;                  // bits behind the point
  std::vector<std::int32_t> first;    // [outputs]
  std::vector<std::int32_t> count;    // [outputs]
  std::vector<std::int16_t> weights;  // [outputs, most]
};

// One axis: u8 [outer, inputs, inner] becomes [outer, outputs, inner].
struct ResizeStep {
  std::int64_t outer = 0, inputs = 0, outputs = 0, inner = 0;
  Taps taps;

  // For memory of the host; on another device `first`, `count` and `weights` are copies there.
  HearthResample call(const std::uint8_t* source, std::uint8_t* target) const;
};

// What brings a picture, or so many that follow each other, to another size, in this order:
// columns, then rows, each rounded to u8; an axis of the same size needs none. a = -0.5; weights
// are fixed point with as many bits as fit into 16.
std::vector<ResizeStep> resize_steps(Size from, Size to, std::int64_t pictures = 1);

// All steps, in the calling thread. The same size gives the same pixels.
Picture resize_bicubic(Picture picture, Size size, std::int64_t pictures = 1);

}  // namespace hearth::image
