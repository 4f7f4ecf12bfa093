// Slots that go on from others, and what beam search looks at: nothing here is part of a step.
#include <algorithm>
#include <cassert>

#include "models/decoder/step.h"

namespace hearth::decoder {

Result<void> Step::write_table(const generate::Place& place) {
  std::copy(place.pages.begin(), place.pages.end(), scratch_table_.begin());
  const std::size_t stride_bytes = scratch_table_.size() * sizeof(std::int32_t);
  return memory_.write(
      fixed_.tables.as<std::byte>() + static_cast<std::size_t>(place.slot) * stride_bytes,
      scratch_table_.data(), place.pages.size() * sizeof(std::int32_t));
}

Result<void> Step::fork(std::int32_t from, const generate::Place& to,
                        const generate::PageCopy& copy) {
  CHECK_OK(write_table(to));
  if (copy.tokens > 0) CHECK_OK(pages_.copy(copy));
  CHECK_OK(fixed_.recurrent.copy(from, to.slot));
  auto* slots = fixed_.slots.as<HearthSlot>();
  CHECK_OK(memory_.copy(slots + to.slot, slots + from, sizeof(HearthSlot)));
  auto* counts = fixed_.counts.as<std::uint16_t>();
  const std::size_t width = scratch_counts_.size();
  CHECK_OK(memory_.copy(counts + static_cast<std::size_t>(to.slot) * width,
                        counts + static_cast<std::size_t>(from) * width,
                        width * sizeof(std::uint16_t)));
  host_slots_[static_cast<std::size_t>(to.slot)] = host_slots_[static_cast<std::size_t>(from)];
  return {};
}

Result<void> Step::choose(std::int32_t slot, std::int32_t token) {
  HearthSlot* state = fixed_.slots.as<HearthSlot>() + slot;
  return memory_.write(&state->token, &token, sizeof token);
}

Result<std::vector<float>> Step::logits(std::int32_t row) {
  std::vector<float> values(static_cast<std::size_t>(description_.vocabulary_size));
  CHECK_OK(read_logits(row, values));
  return values;
}

Result<void> Step::read_logits(std::int32_t row, std::span<float> logits) {
  const auto width = static_cast<std::size_t>(description_.vocabulary_size);
  assert(logits.size() == width);
  return memory_.read(logits.data(),
                      static_cast<const float*>(fixed_.buffer(Buffer::kLogits)) +
                          static_cast<std::size_t>(row) * width,
                      width * sizeof(float));
}

}  // namespace hearth::decoder
