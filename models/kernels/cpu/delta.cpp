#include "models/kernels/check_operations.h"
#include "models/kernels/cpu/functions.h"
#include "models/kernels/cpu/rows.h"
#include "models/kernels/cpu/share.h"

namespace hearth::kernels {

HearthStatus cpu::conv_step(const HearthConvStep* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  if (call->taps > kMostTaps) return HEARTH_BAD_ARGUMENT;
  const auto conv_step = row_functions(level()).conv_step;
  constexpr std::int64_t kBlock = 256;  // channels; rows of a slot stay in order within one
  const std::int64_t blocks = (call->channels + kBlock - 1) / kBlock;
  share(blocks, call->rows * call->taps * kBlock * 4, [&](std::int64_t block) {
    conv_step(*call, block * kBlock, std::min(call->channels, (block + 1) * kBlock));
  });
  return HEARTH_OK;
}

HearthStatus cpu::delta_step(const HearthDeltaStep* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  if (call->key_dim > kMostHeadDim || call->value_dim > kMostHeadDim) return HEARTH_BAD_ARGUMENT;
  const auto delta_step = row_functions(level()).delta_step;
  share(call->value_heads, call->rows * call->key_dim * call->value_dim * 8,
        [&](std::int64_t head) { delta_step(*call, head); });
  return HEARTH_OK;
}

}  // namespace hearth::kernels
