// Whether an answer thinks or speaks, told by its tokens.
//
// An answer with thoughts is: thoughts, </think>, text; where the prompt has not opened the
// thoughts, <think> comes first. One sequence, one thread.
#pragma once

#include <cstdint>

#include "models/generate/decoder.h"

namespace hearth::generate {

enum class Phase {
  kOpen,      // no token yet: <think> begins thoughts, anything else the text
  kThinking,  // within thoughts
  kSpeaking,  // within the text
};

class ThoughtProgress {
 public:
  explicit ThoughtProgress(const ThoughtTokens& tokens)
      : begin_(tokens.begin), end_(tokens.end), phase_(first_phase(tokens)) {}

  Phase phase() const { return phase_; }
  // Whether there were thoughts, empty ones as well.
  bool thought() const { return thought_ || phase_ == Phase::kThinking; }

  // The next token; whether it begins or ends the thoughts, and is of neither.
  bool accept(std::int32_t id) {
    const Phase before = phase_;
    if (before == Phase::kOpen)
      phase_ = id == begin_ ? Phase::kThinking : Phase::kSpeaking;
    else if (before == Phase::kThinking && id == end_)
      phase_ = Phase::kSpeaking;
    thought_ = thought() || before == Phase::kThinking;
    return phase_ != before && thought_;
  }

 private:
  static Phase first_phase(const ThoughtTokens& tokens) {
    if (tokens.begin < 0) return Phase::kSpeaking;
    return tokens.opened ? Phase::kThinking : Phase::kOpen;
  }

  std::int32_t begin_, end_;
  Phase phase_;
  bool thought_ = false;
};

}  // namespace hearth::generate
