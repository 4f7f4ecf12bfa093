// From logits to one token id: the processors of transformers, in its order, without a full sort.
//
// Order (transformers' GenerationMixin; presence penalty is ours and comes after repetition):
// repetition penalty, presence penalty; then, when temperature > 0: temperature, top-k, top-p,
// min-p, softmax, one draw. Numbers are fp32 as there; sums are kept in double.
//
// The draw is Philox4x32-10 keyed by (seed, answer index, step) and nothing else, so the same seed
// gives the same words in whatever slot, row or company.
//
// Threads: a Sampler holds scratch memory and belongs to one thread; History to one sequence.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/generate/decoder.h"

namespace hearth::generate {

// Which ids a sequence has seen: each once, so that a penalty counts an id once.
class History {
 public:
  // `expected_answer`: tokens to make room for, so that add() never allocates. Ids outside
  // [0, vocabulary_size) are ignored.
  History(std::int32_t vocabulary_size, std::span<const std::int32_t> prompt,
          std::int32_t expected_answer);

  void add(std::int32_t answer_id);
  std::span<const std::int32_t> seen() const { return seen_; }          // prompt and answer
  std::span<const std::int32_t> answered() const { return answered_; }  // answer only

 private:
  bool mark(std::int32_t id, std::uint8_t bit);

  std::vector<std::uint8_t> marks_;  // [vocabulary_size]; bit 0 seen, bit 1 answered
  std::vector<std::int32_t> seen_;
  std::vector<std::int32_t> answered_;
};

struct Candidate {
  std::int32_t id = 0;
  float score = 0.0F;   // the logit after penalties and temperature
  float weight = 0.0F;  // probability before renormalising over what is left
};

class Sampler {
 public:
  explicit Sampler(std::int32_t vocabulary_size);

  // The next id. `logits`: fp32 [vocabulary_size], finite. `step`: 0 for the answer's first token.
  // Greedy (temperature 0) takes the lowest id among equals.
  std::int32_t pick(std::span<const float> logits, const Sampling& sampling, const History& history,
                    std::uint32_t step);

  // What pick() draws from: the ids left by the processors, in order of id, weights not normalised.
  // Valid until the next call. temperature must be > 0.
  std::span<const Candidate> candidates(std::span<const float> logits, const Sampling& sampling,
                                        const History& history);

 private:
  std::span<const float> penalised(std::span<const float> logits, const Sampling& sampling,
                                   const History& history);
  void collect(std::span<const float> scores, std::int32_t top_k);
  void weigh();
  void keep_nucleus(double top_p);
  void keep_likely(double min_p);

  std::vector<float> scores_;          // [vocabulary_size]
  std::vector<float> heap_;            // the k largest scores, smallest first
  std::vector<Candidate> candidates_;  // in order of id
  std::vector<Candidate> sorting_;     // the same while the nucleus is searched
};

// Whether all of `logits` are finite.
bool all_finite(std::span<const float> logits);
// The index of the largest value, the lowest among equals.
std::int32_t argmax(std::span<const float> values);

}  // namespace hearth::generate
