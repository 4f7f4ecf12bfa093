// One beam search in a decoder: each beam has a slot, beams share the pages of what they have in
// common, and a beam that several go on from is forked.
//
// The logits of each beam are brought to the host, where the search (beam_search.h) and its
// penalties (token_scores.h) are computed: for a vocabulary of 150,000 that is 0.6 MB and about a
// millisecond for each beam and step, and everybody's next step waits for it. Nothing of it need be
// on the device then, and the decoder's own sampling has no part in it.
//
// Ownership: slots and pages are the sequence's lease. Engine thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/generate/answer_group.h"
#include "models/generate/answer_text.h"
#include "models/generate/beam_search.h"
#include "models/generate/decoder.h"
#include "models/generate/lease.h"
#include "models/generate/token_scores.h"

namespace hearth::generate {

class Admission;

class Beams {
 public:
  // Takes from `prompt` how tokens are chosen and what ends an answer: what is left of it has the
  // decoder draw greedily up to max_tokens, which nobody listens to.
  explicit Beams(TokenPrompt& prompt);

  // Appends the slots of the beams that go on to those of a step.
  void enter(const Lease& lease, std::vector<std::int32_t>& slots);
  // After a step that was entered, or the prompt's end (row 0), when nothing is in flight: chooses
  // how the beams go on. Errors: the decoder's; unsupported when the request forbids every token.
  Result<void> advance(models::OnEngine, Decoder& decoder, Admission& admission, Lease& lease);
  bool over() const { return search_.over(); }
  // Once it is over: best first, as many as the request asked for. `token_us`: of each step.
  // Of `times` only the tokens of thoughts are known here.
  std::vector<EndedAnswer> answers(std::span<const std::int32_t> token_us) const;

 private:
  BeamSearch::Rules rules_of(const TokenPrompt& prompt);
  void follow_words();
  void tell(const BeamSearch::Finished& finished, EndedAnswer& ended) const;
  Result<void> go_on(models::OnEngine, Decoder& decoder, Admission& admission, Lease& lease);
  std::vector<std::size_t> place_first_children();

  TokenPrompt shown_;  // of the prompt what AnswerText reads
  // What the running beams say so far: what stops one must not be remembered by another. Empty
  // where no stop strings are sought.
  std::vector<AnswerText> words_;
  const std::size_t answers_;
  const std::int32_t prompt_tokens_;
  TokenScores penalties_;
  BeamSearch search_;
  std::int32_t first_row_ = 0;               // of the step at hand
  std::vector<std::size_t> branches_ = {0};  // of the running beams
  std::vector<std::vector<float>> scores_;   // [running beams][vocabulary]
};

}  // namespace hearth::generate
