#include "models/kernels/cuda/linear.cuh"
#include "models/kernels/cuda/linear_products.cuh"

namespace hearth::kernels::cuda {

HearthStatus linear_fp8(const LinearCall& call, const Device& device, void* stream) {
  return linear_products<Fp8Format>(call, device, stream);
}

}  // namespace hearth::kernels::cuda
