#include "models/kernels/sequence.h"

#include <cmath>

#include "models/kernels/check_operations.h"
#include "models/kernels/ref/functions.h"

namespace hearth::kernels {

HearthStatus ref::begin_step(const HearthBeginStep* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  kernels::begin_step(*call);
  return HEARTH_OK;
}

// fp32 angle, then the library functions of fp32, as transformers on a CPU does.
HearthStatus ref::rope_angles(const HearthRopeAngles* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  for (std::int64_t row = 0; row < call->rows; ++row) {
    for (std::int64_t i = 0; i < call->half; ++i) {
      const std::int32_t position = call->position[call->axis[i] * call->rows + row];
      const float angle = static_cast<float>(position) * call->frequency[i];
      call->cosines[row * call->half + i] = std::cos(angle);
      call->sines[row * call->half + i] = std::sin(angle);
    }
  }
  return HEARTH_OK;
}

}  // namespace hearth::kernels
