// How a step begins from a slot and how a drawn token moves a slot on, on host memory.
//
// A slot number below 0 stands for a row without a sequence: it is skipped like a finished one.
#pragma once

#include <cstdint>

#include "models/kernels/kernels.h"

namespace hearth::kernels {

inline constexpr std::uint16_t kCountPrompt = 0x8000;    // of HearthSample::counts
inline constexpr std::uint16_t kCountAnswered = 0x7FFF;  // stays there once reached

inline bool is_running(const HearthSlot* slots, std::int32_t slot) {
  return slot >= 0 && (slots[slot].flags & HEARTH_SLOT_DONE) == 0;
}

void begin_step(const HearthBeginStep& call);

// Writes the ring's next `rows` entries in order: take the first, fill every row, publish.
class RingWriter {
 public:
  explicit RingWriter(const HearthSample& call);

  // Row `row` has drawn `token`: moves its slot on and counts the token.
  void drawn(std::int64_t row, std::int32_t token);
  void nothing(std::int64_t row);     // its slot was done before
  void not_finite(std::int64_t row);  // its logits were no numbers; the slot is done

  // Makes the entries visible to whoever reads ring_head with acquire order.
  void publish();

 private:
  HearthSampled& entry(std::int64_t row, std::uint32_t flags);

  const HearthSample& call_;
  std::uint64_t head_;
  std::uint64_t time_ns_;
};

}  // namespace hearth::kernels
