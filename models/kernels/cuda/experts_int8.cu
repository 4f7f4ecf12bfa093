#include "models/kernels/cuda/experts.cuh"

namespace hearth::kernels::cuda {

HearthStatus experts_int8(const ExpertCall& call, const Device& device, void* stream) {
  return expert_products<Int8Format>(call, device, stream);
}

}  // namespace hearth::kernels::cuda
