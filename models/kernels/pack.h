// Rounding weights to fewer bits (hearth_pack in kernels.h): the arithmetic of one row or group.
//
// INT4: the scale of a group is the best of a few. A candidate maps the weight of largest
// magnitude, with its sign, to -c for c in 7 .. 12, so the side of the larger outlier gets the
// sixteenth level and the others may clip it; then one step of least squares for the levels found.
// What counts is the squared error with the scale as it is stored, in f16. A scale may be negative.
//
// A weight that is not finite is refused (HEARTH_BAD_ARGUMENT) by the formats with scales.
//
// Threads: any, no state. Vector code as cpu/level.h chooses.
#pragma once

#include <cstdint>

#include "models/kernels/formats.h"

namespace hearth::kernels {

struct Int4Group {
  std::uint16_t scale;          // f16
  std::uint8_t levels[kGroup];  // weight / scale + 8
};

// Rounds 64 finite weights.
Int4Group round_to_int4(const float* weights);

}  // namespace hearth::kernels
