// An answer's thoughts and text, out of its tokens, as they may be shown.
//
// New lines at the borders of the thoughts belong to the chat's layout and are left out, as the
// templates do with answers in a history. Stop strings are sought in the text only. One sequence,
// one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "models/generate/decoder.h"
#include "models/generate/thoughts.h"
#include "models/text/stop.h"
#include "models/text/utf8_stream.h"

namespace hearth::generate {

// What can be shown now.
struct Shown {
  std::string text;
  bool thinking = false;
};

class AnswerText {
 public:
  explicit AnswerText(const TokenPrompt& prompt);

  // The next token, one that does not end the answer. `forced`: it had no other choice, and is not
  // counted as a thought.
  Shown accept(std::int32_t id, bool forced = false);
  // There are no more tokens: what was held back.
  Shown finish();

  bool stopped() const { return stops_.stopped(); }  // a stop string is complete
  bool speaks() const { return progress_.phase() != Phase::kThinking; }
  // Tokens between <think> and </think>, but for forced ones.
  std::uint32_t thinking_tokens() const { return thinking_tokens_; }

 private:
  Shown feed(std::string text);
  std::string of_thoughts(std::string text);
  std::string of_text(std::string text);

  std::shared_ptr<const TokenBytes> vocabulary_;
  ThoughtProgress progress_;
  text::Utf8Stream utf8_;
  text::StopStrings stops_;
  std::string new_lines_;  // the thoughts end with them so far
  bool is_begin_ = true;   // nothing was shown of the thoughts, or of the text behind them
  std::uint32_t thinking_tokens_ = 0;
};

}  // namespace hearth::generate
