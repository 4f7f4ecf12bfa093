// Which of the prompts at hand is worked on next, and how much of it at once.
//
// Each prompt has a deadline: what all prompts together had been given when it came, plus its own
// length, in tokens. The earliest deadline is next. So a short prompt passes a long one that has
// just begun, and a long one waits for no more than its own length of others' tokens: nobody
// starves, whoever keeps arriving. (Shortest remaining time first would let a stream of short
// prompts stop a long one for ever; taking turns would make each wait for all.)
//
// While answers are being generated a chunk is short, for it stops them all; alone it is as long as
// the decoder likes.
//
// Plain values; engine thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "models/generate/sequence.h"

namespace hearth::generate {

// Of a chunk while others decode. Below it a large GPU waits for the weights, not for arithmetic,
// so shorter chunks would stall the others no less.
inline constexpr std::int32_t kSharedChunkTokens = 128;

class PrefillOrder {
 public:
  explicit PrefillOrder(std::int32_t chunk_tokens) : chunk_tokens_(chunk_tokens) {}

  // `sequence` has its place now.
  void enter(Sequence& sequence) const;
  // The sequence whose picture or chunk comes next; null when no prompt is at hand. Equal deadlines
  // in order of arrival.
  static Sequence* next(std::span<const std::unique_ptr<Sequence>> sequences);
  // Tokens of its next chunk. `shared`: others decode.
  std::int32_t chunk(const Sequence& sequence, bool shared) const;
  void computed(std::int32_t tokens) { given_tokens_ += tokens; }

 private:
  std::int32_t chunk_tokens_;
  std::int64_t given_tokens_ = 0;  // to all prompts so far
};

}  // namespace hearth::generate
