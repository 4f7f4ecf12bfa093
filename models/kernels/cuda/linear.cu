#include "models/kernels/check.h"
#include "models/kernels/cuda/functions.h"
#include "models/kernels/cuda/linear.cuh"

namespace hearth::kernels::cuda {
HearthStatus linear(const HearthLinear* linear, void* stream) {
  if (const HearthStatus status = check(linear); status != HEARTH_OK) return status;
  Device device;
  if (const HearthStatus status = current_device(&device); status != HEARTH_OK) return status;
  const LinearCall call = call_of(*linear);
  if (linear->type == HEARTH_F32) return linear_f32(call, device, stream);
  switch (linear->weight.format) {
    case HEARTH_FORMAT_F32:
      break;  // goes with fp32 inputs only
    case HEARTH_FORMAT_BF16:
      return linear_bf16(call, device, stream);
    case HEARTH_FORMAT_FP8:
      return linear_fp8(call, device, stream);
    case HEARTH_FORMAT_INT8:
      return linear_int8(call, device, stream);
    case HEARTH_FORMAT_INT4:
      return linear_int4(call, device, stream);
  }
  return HEARTH_BAD_ARGUMENT;
}

}  // namespace hearth::kernels::cuda
