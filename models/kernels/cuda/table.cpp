#include "models/kernels/cuda/functions.h"

const HearthKernels* hearth_kernels_cuda() {
  using namespace hearth::kernels::cuda;
  static const HearthKernels table = {
      .name = "cuda",
      .unpack = &unpack,
      .linear = &linear,
      .embed = &embed,
      .rms_norm = &rms_norm,
      .swiglu = &swiglu,
      .rope_angles = &rope_angles,
      .rope_write = &rope_write,
      .attention = &attention,
      .gather = &gather,
      .conv_step = &conv_step,
      .delta_step = &delta_step,
      .begin_step = &begin_step,
      .sample = &sample,
  };
  return &table;
}
