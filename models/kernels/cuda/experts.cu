#include "models/kernels/check.h"
#include "models/kernels/cuda/experts.cuh"
#include "models/kernels/cuda/functions.h"
#include "models/kernels/matrices.h"

namespace hearth::kernels::cuda {
namespace {

ExpertCall expert_call_of(const HearthExperts& e) {
  const bool own_inputs = e.epilogue == HEARTH_STORE;
  const int entries = static_cast<int>(e.rows * e.each);
  const HearthLinear linear{e.weight.first,
                            e.type,
                            e.type,
                            e.epilogue,
                            own_inputs ? entries : e.rows,
                            e.input,
                            own_inputs ? e.weight.first.in_features : e.input_stride,
                            e.norm,
                            e.norm_epsilon,
                            nullptr,
                            e.output,
                            output_width(e)};
  return {call_of(linear),
          e.weight.stride_bytes,
          static_cast<int>(e.weight.count),
          static_cast<int>(e.each),
          entries,
          own_inputs,
          e.chosen};
}

}  // namespace

HearthStatus experts(const HearthExperts* experts, void* stream) {
  if (const HearthStatus status = check(experts); status != HEARTH_OK) return status;
  Device device;
  if (const HearthStatus status = current_device(&device); status != HEARTH_OK) return status;
  const ExpertCall call = expert_call_of(*experts);
  if (experts->type == HEARTH_F32) return experts_f32(call, device, stream);
  switch (experts->weight.first.format) {
    case HEARTH_FORMAT_F32:
      break;  // goes with fp32 inputs only
    case HEARTH_FORMAT_BF16:
      return experts_bf16(call, device, stream);
    case HEARTH_FORMAT_FP8:
      return experts_fp8(call, device, stream);
    case HEARTH_FORMAT_INT8:
      return experts_int8(call, device, stream);
    case HEARTH_FORMAT_INT4:
      return experts_int4(call, device, stream);
  }
  return HEARTH_BAD_ARGUMENT;
}

}  // namespace hearth::kernels::cuda
