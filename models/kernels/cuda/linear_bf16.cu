#include "models/kernels/cuda/linear.cuh"
#include "models/kernels/cuda/linear_products.cuh"

namespace hearth::kernels::cuda {

HearthStatus linear_bf16(const LinearCall& call, const Device& device, void* stream) {
  return linear_products<Bf16Format>(call, device, stream);
}

}  // namespace hearth::kernels::cuda
