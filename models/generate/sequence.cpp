#include "models/generate/sequence.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace hearth::generate {
namespace {

constexpr auto kReportInterval = std::chrono::milliseconds(100);
constexpr std::size_t kMostTextBytes = 262144;  // of generated.text in the contract

// i32 little endian, as the contract carries token ids. Every platform hearth runs on is that.
std::string packed(std::span<const std::int32_t> values) {
  std::string bytes(values.size_bytes(), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

}  // namespace

Sequence::Sequence(std::shared_ptr<models::Job> job, std::unique_ptr<TokenPrompt> prompt,
                   std::shared_ptr<models::Listener> listener, PageChain chain)
    : job_(std::move(job)),
      prompt_(std::move(prompt)),
      listener_(std::move(listener)),
      chain_(std::move(chain)),
      timeline_(prompt_->sampling.max_tokens, job_->arrived),
      answer_(*prompt_) {
  answer_ids_.reserve(static_cast<std::size_t>(std::max(prompt_->sampling.max_tokens, 1)));
}

void Sequence::chain_answer() {
  chain_.add_answer(std::span(answer_ids_).first(answer_ids_.size() - 1));
}

void Sequence::report(std::string_view stage, std::int64_t done, std::int64_t total) {
  const auto now = models::Clock::now();
  if (stage == reported_stage_ && now - reported_at_ < kReportInterval) return;
  reported_stage_ = stage;
  reported_at_ = now;
  listener_->progress(stage, static_cast<std::uint64_t>(done), static_cast<std::uint64_t>(total));
}

void Sequence::begin_answer(std::int32_t vocabulary_size) {
  if (Guide::is_needed(*prompt_)) guide_.emplace(*prompt_, vocabulary_size);
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
  else if (answer_tokens() >= prompt_->sampling.max_tokens)
    stop_reason_ = "max_tokens";
  // </think> alone is of the thoughts with a text behind it, of which nothing is held back then.
  if (!ended && !stop_reason_.empty()) shown.text += answer_.finish().text;
  show(std::move(shown));
  return !stop_reason_.empty();
}

// One reply carries 256 KiB of text and as much of thoughts: what would exceed them ends the
// answer, and the reply says so.
void Sequence::show(Shown shown) {
  std::string& all = shown.thinking ? thinking_ : text_;
  if (all.size() + shown.text.size() > kMostTextBytes) {
    shown.text.clear();
    stop_reason_ = "max_tokens";
    prompt_->warnings.push_back(
        fmt::format("The answer ends at {} bytes, the most one reply holds.", all.size()));
  }
  all += shown.text;
  contract::Token piece;
  piece.text = std::move(shown.text);
  piece.token_ids = packed({&answer_ids_.back(), 1});
  piece.thinking = shown.thinking;
  listener_->token(std::move(piece));
}

bool Sequence::is_end(std::int32_t id) const {
  return std::find(prompt_->end_ids.begin(), prompt_->end_ids.end(), id) != prompt_->end_ids.end();
}

void Sequence::finish(const ReceiptLabels& labels) {
  stage = Stage::kDone;
  contract::Generated reply;
  reply.text = std::move(text_);
  reply.thinking = std::move(thinking_);
  reply.thinking_closed = guide_ && guide_->closed_thoughts();
  reply.token_ids = packed(answer_ids_);
  reply.prompt_token_ids = packed(prompt_->ids);
  reply.token_us = packed(timeline_.token_us());
  reply.stop_reason = stop_reason_;
  reply.receipt = timeline_.receipt(*prompt_, reuse, labels);
  reply.receipt.bytes_per_token = step_bytes;
  reply.receipt.thinking_tokens = answer_.thinking_tokens();
  reply.warnings = remarks();
  reply.pictures = prompt_->seen;
  reply.coordinates = prompt_->coordinates;
  listener_->done(std::move(reply));
}

std::vector<std::string> Sequence::remarks() const {
  std::vector<std::string> all = prompt_->warnings;
  if (guide_)
    for (std::string& remark : guide_->remarks(stop_reason_)) all.push_back(std::move(remark));
  if (!answer_.speaks())
    all.emplace_back(
        "The answer ended within its thoughts, so there is no text: raise max_tokens, or limit the "
        "thoughts by thinking_tokens.");
  return all;
}

void Sequence::reserve_hidden() {
  if (prompt_->taps) hidden_ = std::make_unique<HiddenStates>(*prompt_->taps, prompt_tokens());
}

void Sequence::finish_encoding(const ReceiptLabels& labels) {
  stage = Stage::kDone;
  timeline_.prompt_finished();
  models::Encoding encoding;
  encoding.hidden = std::move(*hidden_).finish();
  encoding.reply.prompt_token_ids = packed(prompt_->ids);
  encoding.reply.receipt = timeline_.receipt(*prompt_, reuse, labels);
  encoding.reply.warnings = prompt_->warnings;
  listener_->encoded(std::move(encoding));
}

void Sequence::fail(Error error) {
  stage = Stage::kDone;
  listener_->failed(std::move(error));
}

}  // namespace hearth::generate
