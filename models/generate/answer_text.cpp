#include "models/generate/answer_text.h"

#include <utility>

namespace hearth::generate {

AnswerText::AnswerText(const TokenPrompt& prompt)
    : vocabulary_(prompt.vocabulary), progress_(prompt.thoughts), stops_(prompt.sampling.stop) {}

Shown AnswerText::accept(std::int32_t id, bool forced) {
  const bool was_thinking = progress_.phase() == Phase::kThinking;
  if (progress_.accept(id)) {
    Shown last;
    if (was_thinking) last = {of_thoughts(utf8_.finish()), true};
    last.thinking = true;
    new_lines_.clear();
    is_begin_ = true;
    return last;
  }
  if (was_thinking && !forced) ++thinking_tokens_;
  return feed(utf8_.feed(vocabulary_->bytes_of(id)));
}

Shown AnswerText::finish() {
  Shown last = feed(utf8_.finish());
  if (!last.thinking) last.text += stops_.finish();
  return last;
}

Shown AnswerText::feed(std::string text) {
  const bool thinking = progress_.phase() == Phase::kThinking;
  return {thinking ? of_thoughts(std::move(text)) : of_text(std::move(text)), thinking};
}

// New lines wait until something else follows.
std::string AnswerText::of_thoughts(std::string text) {
  text.insert(0, std::exchange(new_lines_, {}));
  if (is_begin_) text.erase(0, text.find_first_not_of('\n'));
  if (text.empty()) return text;
  is_begin_ = false;
  const std::size_t end = text.find_last_not_of('\n') + 1;
  new_lines_ = text.substr(end);
  text.resize(end);
  return text;
}

std::string AnswerText::of_text(std::string text) {
  if (is_begin_ && progress_.thought()) text.erase(0, text.find_first_not_of('\n'));
  is_begin_ = is_begin_ && text.empty();
  return stops_.feed(text);
}

}  // namespace hearth::generate
