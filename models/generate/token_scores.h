// From logits to what beam search compares: log probabilities, with the request's penalties on
// them.
//
// In transformers' order: log softmax first, then the processors, so a repetition penalty acts on
// log probabilities, which are never above zero. presence and frequency penalty are ours, as in
// sampling; no_repeat_ngram as its NoRepeatNGramLogitsProcessor. The same penalties without beams
// are the sampling kernels' work, on logits.
//
// Plain values; engine thread only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/generate/decoder.h"

namespace hearth::generate {

class TokenScores {
 public:
  TokenScores(std::span<const std::int32_t> prompt_ids, const Sampling& sampling);

  // In place: finite logits become processed log probabilities. [vocabulary]
  // `answer`: ids so far of the beam that they belong to.
  void process(std::span<const std::int32_t> answer, std::span<float> logits);

 private:
  void penalise(std::span<const std::int32_t> answer, std::span<float> scores);
  void ban_repeated(std::span<const std::int32_t> answer, std::span<float> scores);

  const double repetition_, presence_, frequency_;
  const std::size_t ngram_;
  const std::size_t prompt_tokens_;
  const std::vector<std::int32_t> prompt_set_;  // each of the prompt's ids once, sorted
  std::vector<std::int32_t> all_;               // prompt, then the answer at hand
  std::vector<std::int32_t> seen_;              // scratch: the answer's ids, sorted
};

}  // namespace hearth::generate
