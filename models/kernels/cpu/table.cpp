#include "models/kernels/cpu/functions.h"

const HearthKernels* hearth_kernels_cpu() {
  using namespace hearth::kernels::cpu;
  static const HearthKernels table = {
      .name = "cpu",
#define OPERATION(name, Call) .name = &name,
#include "models/kernels/operations.def"
  };
  return &table;
}
