#include "models/decoder/step_rehearsal.h"

#include <algorithm>
#include <array>
#include <utility>

namespace hearth::decoder {

StepRehearsal::StepRehearsal(DeviceMemory& memory, const StepMemory& fixed,
                             const Description& description, StepLimits limits, Launch launch)
    : memory_(memory),
      fixed_(fixed),
      description_(description),
      limits_(limits),
      launch_(std::move(launch)) {}

Result<void> StepRehearsal::clear() {
  for (const DeviceBlock* block :
       {&fixed_.slots, &fixed_.counts, &fixed_.tables, &fixed_.ring, &fixed_.ring_head})
    CHECK_OK(memory_.clear(block->data(), block->bytes()));
  return fixed_.recurrent.clear_all();
}

// All slots read page 0 but write a page of their own: two rows that wrote one place would race.
Result<void> StepRehearsal::reset() {
  CHECK_OK(clear());
  const auto stride = static_cast<std::size_t>(table_stride(limits_));
  const std::int32_t length = most_tokens_ - 1;
  std::vector<HearthSlot> slots(static_cast<std::size_t>(limits_.slots));
  std::vector<std::int32_t> tables(slots.size() * stride);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const auto number = static_cast<std::int32_t>(i);
    slots[i].token = number % description_.vocabulary_size;
    slots[i].length = length;
    slots[i].most_steps = 1 << 20;
    slots[i].seed = i;
    slots[i].temperature = number % 2 == 0 ? 0.0F : 0.7F;  // both ways of drawing
    slots[i].top_p = 0.8F;
    slots[i].repetition_penalty = slots[i].typical_p = 1.0F;
    slots[i].top_k = 20;
    tables[i * stride + static_cast<std::size_t>(length / HEARTH_PAGE_TOKENS)] =
        (number + 1) % limits_.pages;
  }
  CHECK_OK(memory_.write(fixed_.slots.data(), slots.data(), slots.size() * sizeof slots[0]));
  CHECK_OK(memory_.write(fixed_.tables.data(), tables.data(), tables.size() * sizeof tables[0]));
  std::array<std::int32_t, HEARTH_MAX_ROWS> rows;
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = i < slots.size() ? static_cast<std::int32_t>(i) : -1;
  return memory_.write(fixed_.rows.slot, rows.data(), sizeof rows);
}

Result<void> StepRehearsal::launch(const StepBucket& bucket) {
  // A longer bucket: its rows start over at its end.
  if (std::exchange(most_tokens_, bucket.most_tokens) != bucket.most_tokens) CHECK_OK(reset());
  return launch_(bucket);
}

Result<std::vector<std::byte>> StepRehearsal::outcome() {
  CHECK_OK(memory_.synchronize());
  const DeviceBlock& logits = fixed_.buffers[static_cast<std::size_t>(Buffer::kLogits)];
  std::vector<std::byte> bytes(logits.bytes() + fixed_.slots.bytes());
  CHECK_OK(memory_.read(bytes.data(), logits.data(), logits.bytes()));
  CHECK_OK(memory_.read(bytes.data() + logits.bytes(), fixed_.slots.data(), fixed_.slots.bytes()));
  return bytes;
}

Result<void> StepRehearsal::finish() {
  CHECK_OK(clear());
  return memory_.synchronize();
}

}  // namespace hearth::decoder
