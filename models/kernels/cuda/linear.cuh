// The linear's kernels, a file for each weight format.
#pragma once

#include "models/kernels/cuda/linear_input.cuh"

namespace hearth::kernels::cuda {

HearthStatus linear_f32(const LinearCall& call, const Device& device, void* stream);
HearthStatus linear_bf16(const LinearCall& call, const Device& device, void* stream);
HearthStatus linear_fp8(const LinearCall& call, const Device& device, void* stream);
HearthStatus linear_int8(const LinearCall& call, const Device& device, void* stream);
HearthStatus linear_int4(const LinearCall& call, const Device& device, void* stream);

}  // namespace hearth::kernels::cuda
