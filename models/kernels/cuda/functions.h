// The functions of the cuda table: launches on a stream, nothing waited for.
// What each computes, its arguments and its errors: models/kernels/kernels.h.
#pragma once

#include "models/kernels/kernels.h"

namespace hearth::kernels::cuda {

HearthStatus unpack(const HearthUnpack* call, void* stream);
HearthStatus linear(const HearthLinear* call, void* stream);
HearthStatus embed(const HearthEmbed* call, void* stream);
HearthStatus rms_norm(const HearthRmsNorm* call, void* stream);
HearthStatus swiglu(const HearthSwiGlu* call, void* stream);
HearthStatus rope_angles(const HearthRopeAngles* call, void* stream);
HearthStatus rope_write(const HearthRopeWrite* call, void* stream);
HearthStatus attention(const HearthAttention* call, void* stream);
HearthStatus gather(const HearthGather* call, void* stream);
HearthStatus conv_step(const HearthConvStep* call, void* stream);
HearthStatus delta_step(const HearthDeltaStep* call, void* stream);
HearthStatus begin_step(const HearthBeginStep* call, void* stream);
HearthStatus sample(const HearthSample* call, void* stream);

}  // namespace hearth::kernels::cuda
