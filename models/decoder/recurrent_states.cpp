#include "models/decoder/recurrent_states.h"

#include <cassert>

namespace hearth::decoder {
namespace {

constexpr std::size_t kAlignmentBytes = 256;

std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes;
}

// Bytes of one slot in one layer, and of all slots.
struct Sizes {
  std::size_t slot_window = 0, slot_state = 0, windows = 0, layer = 0;

  Sizes(const DeltaRule& delta, std::int32_t slots) {
    const auto count = static_cast<std::size_t>(slots);
    slot_window = static_cast<std::size_t>(delta.taps - 1) *
                  static_cast<std::size_t>(delta.channels()) * sizeof(float);
    slot_state = static_cast<std::size_t>(delta.values()) *
                 static_cast<std::size_t>(delta.key_dim) * sizeof(float);
    windows = aligned(count * slot_window);
    layer = windows + aligned(count * slot_state);
  }
};

}  // namespace

std::uint64_t RecurrentStates::bytes(const Description& description, std::int32_t slots) {
  const DeltaRule* delta = description.delta_rule();
  if (delta == nullptr) return 0;
  return static_cast<std::uint64_t>(description.recurrent_layers()) * Sizes(*delta, slots).layer;
}

Result<RecurrentStates> RecurrentStates::create(DeviceMemory& memory,
                                                const Description& description,
                                                std::int32_t slots) {
  RecurrentStates made;
  const DeltaRule* delta = description.delta_rule();
  if (delta == nullptr) return made;
  const Sizes sizes(*delta, slots);
  made.memory_ = &memory;
  made.layers_ = description.recurrent_layers();
  made.slot_window_bytes_ = sizes.slot_window;
  made.slot_state_bytes_ = sizes.slot_state;
  made.windows_bytes_ = sizes.windows;
  made.layer_bytes_ = sizes.layer;
  TRY(made.block_, memory.allocate(bytes(description, slots)));
  return made;
}

float* RecurrentStates::window(std::int32_t layer, std::int32_t slot) const {
  assert(layer >= 0 && layer < layers_);
  return reinterpret_cast<float*>(block_.as<std::byte>() +
                                  static_cast<std::size_t>(layer) * layer_bytes_ +
                                  static_cast<std::size_t>(slot) * slot_window_bytes_);
}

float* RecurrentStates::state(std::int32_t layer, std::int32_t slot) const {
  assert(layer >= 0 && layer < layers_);
  return reinterpret_cast<float*>(block_.as<std::byte>() +
                                  static_cast<std::size_t>(layer) * layer_bytes_ + windows_bytes_ +
                                  static_cast<std::size_t>(slot) * slot_state_bytes_);
}

float* RecurrentStates::window(std::int32_t layer) const {
  return window(layer, 0);
}
float* RecurrentStates::state(std::int32_t layer) const {
  return state(layer, 0);
}

Result<void> RecurrentStates::clear(std::int32_t slot) const {
  for (std::int32_t layer = 0; layer < layers_; ++layer) {
    CHECK_OK(memory_->clear(window(layer, slot), slot_window_bytes_));
    CHECK_OK(memory_->clear(state(layer, slot), slot_state_bytes_));
  }
  return {};
}

Result<void> RecurrentStates::copy(std::int32_t from, std::int32_t to) const {
  if (from == to) return {};
  for (std::int32_t layer = 0; layer < layers_; ++layer) {
    CHECK_OK(memory_->copy(window(layer, to), window(layer, from), slot_window_bytes_));
    CHECK_OK(memory_->copy(state(layer, to), state(layer, from), slot_state_bytes_));
  }
  return {};
}

Result<void> RecurrentStates::clear_all() const {
  if (layers_ == 0) return {};
  return memory_->clear(block_.data(), block_.bytes());
}

}  // namespace hearth::decoder
