#include "models/kernels/ref/functions.h"

const HearthKernels* hearth_kernels_ref() {
  using namespace hearth::kernels::ref;
  static const HearthKernels table = {
      .name = "ref",
#define OPERATION(name, Call) .name = &name,
#include "models/kernels/operations.def"
  };
  return &table;
}
