#include "models/generate/guide.h"

#include <algorithm>

#include <fmt/format.h>

#include "models/generate/no_repeat.h"

namespace hearth::generate {
namespace {

void set_bit(std::span<std::uint32_t> words, std::int32_t id) {
  const auto at = static_cast<std::size_t>(id);
  if (at / 32 < words.size()) words[at / 32] |= 1U << at % 32;
}

void clear_bit(std::span<std::uint32_t> words, std::int32_t id) {
  const auto at = static_cast<std::size_t>(id);
  if (at / 32 < words.size()) words[at / 32] &= ~(1U << at % 32);
}

}  // namespace

bool Guide::is_needed(const TokenPrompt& prompt) {
  const bool limits_thoughts = prompt.sampling.thinking_tokens > 0 && prompt.thoughts.begin >= 0;
  return !prompt.taps &&
         (prompt.grammar != nullptr || prompt.sampling.no_repeat_ngram > 0 || limits_thoughts);
}

Guide::Guide(const TokenPrompt& prompt, std::int32_t vocabulary_size)
    : prompt_(prompt),
      progress_(prompt.thoughts),
      vocabulary_size_(static_cast<std::size_t>(vocabulary_size)) {
  if (prompt.grammar != nullptr) matcher_.emplace(prompt.grammar, prompt.end_ids);
  if (prompt.sampling.no_repeat_ngram > 0) said_ = prompt.ids;
}

Result<std::optional<std::span<const std::uint32_t>>> Guide::next() {
  if (forced_.empty() && thinks_to_the_limit()) close_thoughts();
  next_mask_.assign(grammar::mask_words(vocabulary_size_), 0);
  bool masks = true;
  if (!forced_.empty()) {
    set_bit(next_mask_, forced_.front());
  } else {
    TRY(masks, fill(next_mask_));
  }
  if (!masks) next_mask_.clear();
  if (next_mask_ == mask_) return std::optional<std::span<const std::uint32_t>>();
  mask_.swap(next_mask_);
  return std::optional(std::span<const std::uint32_t>(mask_));
}

Result<void> Guide::accept(std::int32_t token) {
  const bool forced = !forced_.empty();
  if (forced) forced_.pop_front();
  const Phase before = progress_.phase();
  const bool is_border = progress_.accept(token);
  if (prompt_.sampling.no_repeat_ngram > 0) said_.push_back(token);
  if (before == Phase::kThinking && !is_border) {
    thinking_tokens_ += forced ? 0 : 1;
    line_is_new_ = prompt_.vocabulary->bytes_of(token).ends_with('\n');
  }
  const bool is_grammars = matcher_ && !forced && !is_border && before != Phase::kThinking;
  if (is_grammars) return matcher_->accept(token);
  const bool is_closed = is_border && progress_.phase() == Phase::kSpeaking;
  if (is_closed && matcher_ && !forced)
    forced_.assign(prompt_.thoughts.empty_line.begin(), prompt_.thoughts.empty_line.end());
  return {};
}

bool Guide::thinks_to_the_limit() const {
  const std::int32_t limit = prompt_.sampling.thinking_tokens;
  return progress_.phase() == Phase::kThinking && limit > 0 && thinking_tokens_ >= limit;
}

void Guide::close_thoughts() {
  const ThoughtTokens& tokens = prompt_.thoughts;
  if (!line_is_new_) forced_.assign(tokens.new_line.begin(), tokens.new_line.end());
  forced_.push_back(tokens.end);
  forced_.insert(forced_.end(), tokens.empty_line.begin(), tokens.empty_line.end());
  closed_thoughts_ = true;
}

void Guide::fill_with_all(Words& words) const {
  words.assign(grammar::mask_words(vocabulary_size_), ~0U);
  if (const std::size_t rest = vocabulary_size_ % 32; rest > 0) words.back() = (1U << rest) - 1;
}

// Whether there is anything to mask.
Result<bool> Guide::fill(Words& words) {
  bool masks = false;
  if (matcher_) {
    TRY(masks, fill_by_grammar(words));
  }
  if (prompt_.sampling.no_repeat_ngram <= 0) return masks;
  if (!masks) fill_with_all(words);
  return forbid_repetition(words) || masks;
}

Result<bool> Guide::fill_by_grammar(Words& words) {
  if (progress_.phase() == Phase::kThinking) {
    fill_with_all(words);
    for (const std::int32_t id : prompt_.end_ids) clear_bit(words, id);
    return true;
  }
  CHECK_OK(matcher_->mask(words));
  if (progress_.phase() == Phase::kOpen && prompt_.thoughts.expected)
    set_bit(words, prompt_.thoughts.begin);
  return true;
}

// Whether it forbids anything.
bool Guide::forbid_repetition(Words& words) {
  const std::vector<std::int32_t> ids = repeating_ids(said_, prompt_.sampling.no_repeat_ngram);
  if (ids.empty()) return false;
  const Words before = words;
  for (const std::int32_t id : ids) clear_bit(words, id);
  if (std::any_of(words.begin(), words.end(), [](std::uint32_t word) { return word != 0; }))
    return true;
  words = before;
  repeats_ = true;
  return false;
}

bool Guide::is_complete() const {
  return !matcher_ || matcher_->ended() ||
         (progress_.phase() != Phase::kThinking && matcher_->can_end());
}

std::vector<std::string> Guide::remarks(std::string_view stop_reason) const {
  std::vector<std::string> remarks;
  if (!is_complete())
    remarks.push_back(
        fmt::format("{} ended the answer before its schema or regular expression was complete.",
                    stop_reason == "stop_string" ? "A stop string" : "max_tokens"));
  if (repeats_)
    remarks.emplace_back(
        "no_repeat_ngram left no token to go on with in places; there it was set aside.");
  return remarks;
}

}  // namespace hearth::generate
