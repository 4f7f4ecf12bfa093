// What a slot's sampling settings mean. C++17, because CUDA sources include it.
#pragma once

#include "models/kernels/kernels.h"
#include "models/kernels/philox.h"

namespace hearth::kernels {

// Below this a quotient of logit and temperature may leave fp32.
inline constexpr float kLeastTemperature = 1e-30F;

HEARTH_ANYWHERE inline bool is_greedy(const HearthSlot& slot) {
  return !(slot.temperature > kLeastTemperature);
}

HEARTH_ANYWHERE inline bool penalises(const HearthSlot& slot) {
  return slot.repetition_penalty != 1.0F || slot.presence_penalty != 0.0F ||
         slot.frequency_penalty != 0.0F;
}

}  // namespace hearth::kernels
