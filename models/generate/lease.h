// A sequence's place in the decoder, lent by Admission. Plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "models/generate/decoder.h"

namespace hearth::generate {

// One token after the other needs one of these; a beam search one for each beam.
struct Branch {
  std::int32_t slot = -1;           // -1: holds none
  std::vector<std::int32_t> pages;  // for prompt and answer, in order
};

struct Lease : Branch {
  std::uint32_t number = 0;        // Place::sequence
  std::int32_t cached_tokens = 0;  // of the prompt, in the first pages from the start
  std::int32_t kept_pages = 0;     // whole pages that the prefix cache has seen
  PageCopy copy;                   // until it is made
  std::vector<Branch> more;        // of the second beam and those after it

  Branch& branch(std::size_t beam) { return beam == 0 ? *this : more[beam - 1]; }
};

}  // namespace hearth::generate
