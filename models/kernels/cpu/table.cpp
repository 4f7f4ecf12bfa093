#include "models/kernels/cpu/functions.h"

const HearthKernels* hearth_kernels_cpu() {
  using namespace hearth::kernels::cpu;
  static const HearthKernels table = {
      .name = "cpu",
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
