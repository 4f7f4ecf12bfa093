// Beam search, its bookkeeping alone: which continuations go on, which are finished, when it is
// over.
//
// Source: transformers 5.23, generation/utils.py, GenerationMixin._beam_search without sampling,
// for one prompt. Two cases differ: of equal sums the earlier beam's and then the lower id comes
// first (torch.topk leaves it open), and where less continuations than beams do not end, less beams
// go on (transformers fills up with ended ones that have 1e9 taken off).
//
// Plain values; engine thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace hearth::generate {

class BeamSearch {
 public:
  struct Rules {
    std::int32_t beams = 2;
    std::int32_t max_tokens = 1;
    double length_penalty = 1.0;  // scores are sum / length ^ length_penalty
    bool early_stopping = false;  // over as soon as `beams` are finished
    std::vector<std::int32_t> end_ids;
    // Whether running beam `from` ends with this token for another reason than an end id or its
    // length. May be empty.
    std::function<bool(std::int32_t from, std::int32_t token)> stops;
  };
  // One that goes on: it continues running beam `from` of before.
  struct Running {
    std::int32_t from = 0;
    std::vector<std::int32_t> ids;  // of the answer so far
    float sum = 0.0F;               // of their log probabilities
    std::int32_t token() const { return ids.back(); }
  };
  struct Finished {
    std::vector<std::int32_t> ids;  // its end id included
    double score = 0.0;
    std::string_view reason;  // as generated.stop_reason
  };

  explicit BeamSearch(Rules rules);

  // The beams whose continuations are wanted next: at first one, with no ids.
  std::span<const Running> running() const { return running_; }
  bool over() const { return over_; }
  // Best first, `beams` of them once it is over; fewer only where the vocabulary has not enough.
  std::span<const Finished> finished() const { return finished_; }

  // log_probabilities: of each running beam [vocabulary], processed; -infinity is never chosen.
  // Not when it is over.
  void advance(std::span<const std::vector<float>> log_probabilities);

 private:
  struct Continuation {
    float sum = 0.0F;
    std::int32_t from = 0;
    std::int32_t token = 0;
  };

  static bool better(const Continuation& a, const Continuation& b);
  std::vector<Continuation> best(std::span<const std::vector<float>> log_probabilities) const;
  std::string_view end_of(const Running& beam) const;
  void finish(Finished finished);
  double score(double sum, std::size_t length) const;
  bool can_improve() const;

  const Rules rules_;
  const std::size_t beams_;
  const std::size_t considered_;  // continuations looked at in a step
  std::vector<Running> running_;
  std::vector<Finished> finished_;
  bool over_ = false;
};

}  // namespace hearth::generate
