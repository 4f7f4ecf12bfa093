// What layers of the delta rule remember of a sequence, whatever its length: the last inputs of
// their convolution, and a matrix for each value head. Of all slots, in device memory.
//
// Where there are no such layers it takes nothing. Engine thread only.
#pragma once

#include <cstdint>

#include "models/decoder/description.h"
#include "models/decoder/device_memory.h"

namespace hearth::decoder {

class RecurrentStates {
 public:
  RecurrentStates() = default;  // no layers
  // Errors: out_of_memory.
  static Result<RecurrentStates> create(DeviceMemory& memory, const Description& description,
                                        std::int32_t slots);
  static std::uint64_t bytes(const Description& description, std::int32_t slots);

  // Of the layers with a state. fp32 [slots, taps - 1, channels]
  float* window(std::int32_t layer) const;
  // fp32 [slots, value_heads, key_dim, value_dim]
  float* state(std::int32_t layer) const;
  // One slot's.
  float* window(std::int32_t layer, std::int32_t slot) const;
  float* state(std::int32_t layer, std::int32_t slot) const;

  // The slot is at the beginning of a sequence.
  Result<void> clear(std::int32_t slot) const;
  // `to` remembers what `from` does.
  Result<void> copy(std::int32_t from, std::int32_t to) const;
  Result<void> clear_all() const;

 private:
  DeviceMemory* memory_ = nullptr;
  DeviceBlock block_;  // of each layer the windows, then the states
  std::int32_t layers_ = 0;
  std::size_t slot_window_bytes_ = 0, slot_state_bytes_ = 0;
  std::size_t windows_bytes_ = 0;  // of a layer, aligned
  std::size_t layer_bytes_ = 0;
};

}  // namespace hearth::decoder
