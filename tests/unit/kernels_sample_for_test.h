// Rows to sample: logits, settings and what has been said, as one call of the kernel.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {

struct Sampling {
  // Greedy, no penalties, never done.
  static HearthSlot plain_slot();

  Floats logits;
  HearthSlot slot = plain_slot();
  std::vector<std::int32_t> prompt, answer;
};

// Rows with a slot each, row r in slot r; all have as many logits.
struct Sampled {
  Sampled(Memory& memory, const std::vector<Sampling>& rows);
  // Samples all rows and gives their entries of the ring, in its order.
  std::vector<HearthSampled> run(const Implementation& implementation, Memory& memory);

  HearthSample call{};
};

}  // namespace hearth::kernels
