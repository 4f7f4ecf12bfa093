#include "models/kernels/cuda/experts.cuh"

namespace hearth::kernels::cuda {

HearthStatus experts_fp8(const ExpertCall& call, const Device& device, void* stream) {
  return expert_products<Fp8Format>(call, device, stream);
}

}  // namespace hearth::kernels::cuda
