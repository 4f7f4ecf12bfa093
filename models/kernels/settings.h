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

HEARTH_ANYWHERE inline std::int64_t mask_words(std::int64_t vocabulary) {
  return (vocabulary + 31) / 32;
}

// The mask of a slot; null when it has none.
HEARTH_ANYWHERE inline const std::uint32_t* mask_of(const HearthSample& call, std::int32_t slot) {
  if (call.masks == nullptr || call.slots[slot].masked == 0) return nullptr;
  return call.masks + slot * mask_words(call.vocabulary);
}

// Whether the mask, which may be null, leaves the id out.
HEARTH_ANYWHERE inline bool is_masked(const std::uint32_t* mask, std::int64_t id) {
  return mask != nullptr && (mask[id / 32] >> (id % 32) & 1) == 0;
}

}  // namespace hearth::kernels
