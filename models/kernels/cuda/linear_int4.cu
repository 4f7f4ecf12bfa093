#include "models/kernels/cuda/linear.cuh"
#include "models/kernels/cuda/linear_products.cuh"

namespace hearth::kernels::cuda {

HearthStatus linear_int4(const LinearCall& call, const Device& device, void* stream) {
  return linear_products<Int4Format>(call, device, stream);
}

}  // namespace hearth::kernels::cuda
