#include "models/generate/sequence.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "shm/base/text.h"

namespace hearth::generate {
namespace {

constexpr const char* kNoText =
    "The answer ended within its thoughts, so there is no text: raise max_tokens, or limit the "
    "thoughts by thinking_tokens.";

}  // namespace

Sequence::Sequence(std::shared_ptr<AnswerGroup> group, std::uint32_t number, PageChain chain)
    : group_(std::move(group)),
      number_(number),
      chain_(std::move(chain)),
      timeline_(prompt().sampling.max_tokens, group_->arrived()),
      answer_(prompt()) {
  answer_ids_.reserve(static_cast<std::size_t>(std::max(prompt().sampling.max_tokens, 1)));
}

void Sequence::chain_answer() {
  chain_.add_answer(std::span(answer_ids_).first(answer_ids_.size() - 1));
}

void Sequence::begin_answer(std::int32_t vocabulary_size) {
  if (Guide::is_needed(prompt())) guide_.emplace(prompt(), vocabulary_size);
}

Result<bool> Sequence::accept(std::int32_t id) {
  timeline_.token();
  answer_ids_.push_back(id);
  const bool forced = guide_ && guide_->forces();
  if (guide_) CHECK_OK(guide_->accept(id));
  const bool ended = is_end(id);
  Shown shown = ended ? answer_.finish() : answer_.accept(id, forced);
  if (ended)
    stop_reason_ = "end_token";
  else if (answer_.stopped())
    stop_reason_ = "stop_string";
  else if (answer_tokens() >= prompt().sampling.max_tokens)
    stop_reason_ = "max_tokens";
  // </think> alone is of the thoughts with a text behind it, of which nothing is held back then.
  if (!ended && !stop_reason_.empty()) shown.text += answer_.finish().text;
  show(std::move(shown));
  return !stop_reason_.empty();
}

// One reply has room for 256 KiB of text and as much of thoughts: what would exceed an answer's
// share ends it, and the reply says so.
void Sequence::show(Shown shown) {
  std::string& all = shown.thinking ? thinking_ : text_;
  if (all.size() + shown.text.size() > group_->most_text_bytes()) {
    shown.text.clear();
    stop_reason_ = "max_tokens";
    group_->warn(fmt::format("Answer {} ends at {} bytes, the most one reply has room for.",
                             number_ + 1, all.size()));
  }
  all += shown.text;
  contract::Token piece;
  piece.text = std::move(shown.text);
  piece.token_ids = packed({&answer_ids_.back(), 1});
  piece.thinking = shown.thinking;
  piece.answer = number_;
  group_->token(std::move(piece));
}

bool Sequence::is_end(std::int32_t id) const {
  return std::find(prompt().end_ids.begin(), prompt().end_ids.end(), id) != prompt().end_ids.end();
}

AnswerTimes Sequence::times(const ReceiptLabels& labels) const {
  AnswerTimes times = timeline_.times(prompt(), reuse, labels);
  times.receipt.bytes_per_token = step_bytes;
  return times;
}

void Sequence::finish(const ReceiptLabels& labels) {
  stage = Stage::kDone;
  remark();
  EndedAnswer ended;
  ended.answer.text = std::move(text_);
  ended.answer.thinking = std::move(thinking_);
  ended.answer.token_ids = packed(answer_ids_);
  ended.answer.token_us = packed(timeline_.token_us());
  ended.answer.stop_reason = stop_reason_;
  ended.thinking_closed = guide_ && guide_->closed_thoughts();
  ended.times = times(labels);
  ended.times.receipt.thinking_tokens = answer_.thinking_tokens();
  group_->ended(number_, std::move(ended));
}

// What beams say is known when the search is over: each answer is one event, its thoughts another.
void Sequence::finish_beams(const ReceiptLabels& labels) {
  stage = Stage::kDone;
  std::uint32_t number = 0;
  for (EndedAnswer& ended : beams->answers(timeline_.token_us())) {
    contract::Answer& answer = ended.answer;
    for (std::string* words : {&answer.thinking, &answer.text}) {
      const std::size_t bytes = words->size();
      *words = cut(std::move(*words), group_->most_text_bytes());
      if (words->size() < bytes)
        group_->warn(fmt::format("Answer {} is cut at {} bytes, the most one reply has room for.",
                                 number + 1, words->size()));
    }
    const std::uint32_t thinking_tokens = ended.times.receipt.thinking_tokens;
    ended.times = times(labels);
    ended.times.receipt.thinking_tokens = thinking_tokens;
    ended.times.receipt.generated_tokens =
        static_cast<std::uint32_t>(answer.token_ids.size() / sizeof(std::int32_t));
    group_->say(number, answer);
    group_->ended(number++, std::move(ended));
  }
}

// What the user should know of how it ended.
void Sequence::remark() {
  if (guide_)
    for (std::string& remark : guide_->remarks(stop_reason_)) group_->warn(std::move(remark));
  if (!answer_.speaks()) group_->warn(kNoText);
}

void Sequence::reserve_hidden() {
  if (prompt().taps) hidden_ = std::make_unique<HiddenStates>(*prompt().taps, prompt_tokens());
}

void Sequence::finish_encoding(const ReceiptLabels& labels) {
  stage = Stage::kDone;
  timeline_.prompt_finished();
  models::Encoding encoding;
  encoding.hidden = std::move(*hidden_).finish();
  encoding.reply.receipt = timeline_.receipt(prompt(), reuse, labels);
  group_->encoded(std::move(encoding));
}

}  // namespace hearth::generate
