#include "models/generate/answer_group.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace hearth::generate {
namespace {

constexpr auto kReportInterval = std::chrono::milliseconds(100);
constexpr std::size_t kMostTextBytes = 262144;  // of generated.text in the contract
// Of one frame, less what a reply has beside texts and ids: pictures, warnings, the receipt.
constexpr std::size_t kMostTextAndIdBytes = (std::size_t{1} << 20) - (std::size_t{160} << 10);

}  // namespace

AnswerGroup::AnswerGroup(std::shared_ptr<models::Job> job, std::unique_ptr<TokenPrompt> prompt,
                         std::shared_ptr<models::Listener> listener)
    : job_(std::move(job)),
      prompt_(std::move(prompt)),
      listener_(std::move(listener)),
      warnings_(prompt_->warnings),
      ended_(static_cast<std::size_t>(prompt_->sampling.answers)),
      open_(ended_.size()) {}

std::size_t AnswerGroup::most_text_bytes() const {
  const auto most_tokens = static_cast<std::size_t>(prompt_->sampling.max_tokens);
  const std::size_t id_bytes = sizeof(std::int32_t) * prompt_->ids.size() +
                               2 * sizeof(std::int32_t) * most_tokens * ended_.size();
  const std::size_t room = kMostTextAndIdBytes - std::min(kMostTextAndIdBytes, id_bytes);
  return std::min(kMostTextBytes, room / 2) / ended_.size();
}

void AnswerGroup::report(std::string_view stage, std::int64_t done, std::int64_t total) {
  const auto now = models::Clock::now();
  if (stage == reported_stage_ && now - reported_at_ < kReportInterval) return;
  reported_stage_ = stage;
  reported_at_ = now;
  listener_->progress(stage, static_cast<std::uint64_t>(done), static_cast<std::uint64_t>(total));
}

void AnswerGroup::report_token() {
  const Sampling& sampling = prompt_->sampling;
  const std::int64_t each = sampling.max_tokens;
  report("decode", ++tokens_, sampling.beams > 1 ? each : each * sampling.answers);
}

void AnswerGroup::warn(std::string warning) {
  if (std::find(warnings_.begin(), warnings_.end(), warning) == warnings_.end())
    warnings_.push_back(std::move(warning));
}

void AnswerGroup::say(std::uint32_t number, const contract::Answer& answer) {
  contract::Token piece;
  piece.answer = number;
  if (!answer.thinking.empty()) {
    piece.thinking = true;
    piece.text = answer.thinking;
    listener_->token(piece);
    piece.thinking = false;
  }
  piece.text = answer.text;
  piece.token_ids = answer.token_ids;
  listener_->token(std::move(piece));
}

void AnswerGroup::ended(std::uint32_t number, EndedAnswer ended) {
  ended_[number] = std::move(ended);
  if (--open_ == 0) reply();
}

void AnswerGroup::encoded(models::Encoding encoding) {
  encoding.reply.prompt_token_ids = packed(prompt_->ids);
  encoding.reply.warnings = std::move(warnings_);
  listener_->encoded(std::move(encoding));
}

void AnswerGroup::reply() {
  contract::Generated reply;
  reply.receipt = receipt();
  contract::Answer& first = ended_.front().answer;
  reply.text = std::move(first.text);
  reply.thinking = std::move(first.thinking);
  reply.token_ids = std::move(first.token_ids);
  reply.token_us = std::move(first.token_us);
  reply.stop_reason = std::move(first.stop_reason);
  reply.score = first.score;
  reply.thinking_closed = ended_.front().thinking_closed;
  for (std::size_t i = 1; i < ended_.size(); ++i)
    reply.others.push_back(std::move(ended_[i].answer));
  reply.prompt_token_ids = packed(prompt_->ids);
  reply.warnings = std::move(warnings_);
  reply.pictures = prompt_->seen;
  reply.coordinates = prompt_->coordinates;
  listener_->done(std::move(reply));
}

// The prompt's part is the first answer's, for it computed the prompt. Decoding lasts from its
// first token to the last one of all.
contract::Receipt AnswerGroup::receipt() const {
  contract::Receipt receipt = ended_.front().times.receipt;
  if (ended_.size() == 1) return receipt;
  auto last = ended_.front().times.last_token;
  for (std::size_t i = 1; i < ended_.size(); ++i) {
    const contract::Receipt& other = ended_[i].times.receipt;
    receipt.generated_tokens += other.generated_tokens;
    receipt.thinking_tokens += other.thinking_tokens;
    receipt.slowest_token_ms = std::max(receipt.slowest_token_ms, other.slowest_token_ms);
    if (prompt_->sampling.beams <= 1) receipt.stalls += other.stalls;
    last = std::max(last, ended_[i].times.last_token);
  }
  receipt.bytes_per_token = 0;  // a step reads the weights once for all of them
  receipt.decode_ms =
      std::chrono::duration<double, std::milli>(last - ended_.front().times.first_token).count();
  receipt.tokens_per_second =
      receipt.decode_ms > 0.0 ? (receipt.generated_tokens - 1) / (receipt.decode_ms / 1000.0) : 0.0;
  return receipt;
}

std::string packed(std::span<const std::int32_t> values) {
  std::string bytes(values.size_bytes(), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

}  // namespace hearth::generate
