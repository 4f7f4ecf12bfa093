// Bicubic resampling with antialias on u8, bit for bit as ATen does it on a CPU
// (_upsample_bicubic2d_aa for uint8, which torchvision's resize and transformers' fast processor
// call).
#pragma once

#include "models/image/picture.h"

namespace hearth::image {

// Rows first, then columns, each rounded to u8; a = -0.5; weights are fixed point with as many bits
// as fit into 16. The same size gives the same pixels.
Picture resize_bicubic(const Picture& picture, Size size);

}  // namespace hearth::image
