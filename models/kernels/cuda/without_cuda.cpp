// A build without an nvcc: the CUDA entry points say so.

#include "models/kernels/kernels.h"

HearthStatus hearth_linear_cuda(const HearthLinear*, void*) {
  return HEARTH_NO_DEVICE;
}
