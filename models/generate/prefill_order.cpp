#include "models/generate/prefill_order.h"

#include <algorithm>

namespace hearth::generate {

void PrefillOrder::enter(Sequence& sequence) const {
  sequence.deadline = given_tokens_ + sequence.prompt_tokens() - sequence.prefilled;
}

Sequence* PrefillOrder::next(std::span<const std::unique_ptr<Sequence>> sequences) {
  Sequence* first = nullptr;
  for (const auto& sequence : sequences) {
    if (sequence->stage != Stage::kVision && sequence->stage != Stage::kPrefill) continue;
    if (first == nullptr || sequence->deadline < first->deadline) first = sequence.get();
  }
  return first;
}

std::int32_t PrefillOrder::chunk(const Sequence& sequence, bool shared) const {
  const std::int32_t most = shared ? std::min(chunk_tokens_, kSharedChunkTokens) : chunk_tokens_;
  return std::min(most, sequence.prompt_tokens() - sequence.prefilled);
}

}  // namespace hearth::generate
