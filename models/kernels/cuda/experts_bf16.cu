#include "models/kernels/cuda/experts.cuh"

namespace hearth::kernels::cuda {

HearthStatus experts_bf16(const ExpertCall& call, const Device& device, void* stream) {
  return expert_products<Bf16Format>(call, device, stream);
}

}  // namespace hearth::kernels::cuda
