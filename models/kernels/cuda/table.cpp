#include "models/kernels/cuda/functions.h"

const HearthKernels* hearth_kernels_cuda() {
  using namespace hearth::kernels::cuda;
  static const HearthKernels table = {
      .name = "cuda",
#define OPERATION(name, Call) .name = &name,
#include "models/kernels/operations.def"
  };
  return &table;
}
