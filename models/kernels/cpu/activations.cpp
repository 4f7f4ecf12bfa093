#include <cmath>
#include <cstring>

#include "models/kernels/check_operations.h"
#include "models/kernels/cpu/functions.h"
#include "models/kernels/cpu/rows.h"
#include "models/kernels/cpu/share.h"
#include "models/kernels/sequence.h"

namespace hearth::kernels {

using cpu::row_functions;
using cpu::share;
using cpu::type_bytes;

HearthStatus cpu::embed(const HearthEmbed* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  const std::int64_t row_bytes = call->width * type_bytes(call->type);
  share(call->rows, 2 * row_bytes, [&](std::int64_t row) {
    const std::int64_t token = call->token[row];
    char* to =
        static_cast<char*>(call->output) + row * call->output_stride * type_bytes(call->type);
    if (token >= 0 && token < call->vocabulary)
      std::memcpy(to, static_cast<const char*>(call->table) + token * row_bytes,
                  static_cast<std::size_t>(row_bytes));
    else
      std::memset(to, 0, static_cast<std::size_t>(row_bytes));
  });
  return HEARTH_OK;
}

HearthStatus cpu::rms_norm(const HearthRmsNorm* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  const auto rms_norm = row_functions(level()).rms_norm;
  share(call->rows, 3 * call->width * type_bytes(call->type),
        [&](std::int64_t row) { rms_norm(*call, row); });
  return HEARTH_OK;
}

HearthStatus cpu::swiglu(const HearthSwiGlu* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  const auto swiglu = row_functions(level()).swiglu;
  share(call->rows, 3 * call->width * type_bytes(call->type),
        [&](std::int64_t row) { swiglu(*call, row); });
  return HEARTH_OK;
}

HearthStatus cpu::gate(const HearthGate* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  const auto gate = row_functions(level()).gate;
  share(call->rows, 3 * call->width * type_bytes(call->type),
        [&](std::int64_t row) { gate(*call, row); });
  return HEARTH_OK;
}

// fp32 angle, then the library functions of fp32, as transformers on a CPU does. A sine costs about
// as much as moving 64 bytes.
HearthStatus cpu::rope_angles(const HearthRopeAngles* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  share(call->rows, 128 * call->half, [&](std::int64_t row) {
    for (std::int64_t i = 0; i < call->half; ++i) {
      const std::int32_t position = call->position[call->axis[i] * call->rows + row];
      const float angle = static_cast<float>(position) * call->frequency[i];
      call->cosines[row * call->half + i] = std::cos(angle);
      call->sines[row * call->half + i] = std::sin(angle);
    }
  });
  return HEARTH_OK;
}

HearthStatus cpu::rope_write(const HearthRopeWrite* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  const auto rope_write = row_functions(level()).rope_write;
  share(call->rows, call->qkv_stride * type_bytes(call->type), [&](std::int64_t row) {
    if (call->index[row] >= 0) rope_write(*call, row);
  });
  return HEARTH_OK;
}

HearthStatus cpu::begin_step(const HearthBeginStep* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  kernels::begin_step(*call);
  return HEARTH_OK;
}

}  // namespace hearth::kernels
