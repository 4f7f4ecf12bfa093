#include "models/kernels/ref/functions.h"

const HearthKernels* hearth_kernels_ref() {
  using namespace hearth::kernels::ref;
  static const HearthKernels table = {
      .name = "ref",
      .unpack = &unpack,
      .linear = &linear,
      .embed = nullptr,
      .rms_norm = nullptr,
      .swiglu = nullptr,
      .rope_angles = nullptr,
      .rope_write = nullptr,
      .attention = nullptr,
      .gather = nullptr,
      .conv_step = nullptr,
      .delta_step = nullptr,
      .begin_step = nullptr,
      .sample = nullptr,
  };
  return &table;
}
