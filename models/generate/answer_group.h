// What the answers of one request have in common: the prompt, who listens, and the reply that they
// make together.
//
// Each answer is a sequence of its own (or a beam search is one sequence with several answers); the
// reply goes out when the last has ended. The first failure ends all.
//
// Ownership: shared by the request's sequences; owns the prompt. Engine thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/generate/decoder.h"
#include "models/generate/timeline.h"
#include "models/model.h"

namespace hearth::generate {

// i32 little endian, as the contract carries token ids. Every platform hearth runs on is that.
std::string packed(std::span<const std::int32_t> values);

struct EndedAnswer {
  contract::Answer answer;
  AnswerTimes times;
  bool thinking_closed = false;  // its thoughts reached their limit
};

class AnswerGroup {
 public:
  AnswerGroup(std::shared_ptr<models::Job> job, std::unique_ptr<TokenPrompt> prompt,
              std::shared_ptr<models::Listener> listener);

  // The text that one answer may have, and as many thoughts: with all ids they fit into one reply.
  std::size_t most_text_bytes() const;

  const TokenPrompt& prompt() const { return *prompt_; }
  bool cancelled() const { return job_->cancelled.load(std::memory_order_relaxed); }
  models::Clock::time_point arrived() const { return job_->arrived; }
  // For the reply; once, however many answers say it.
  void warn(std::string warning);

  // To the listener. Progress at most ten times a second for each stage.
  void token(contract::Token piece) { listener_->token(std::move(piece)); }
  // A whole answer at once: its thoughts, then its text with all ids.
  void say(std::uint32_t number, const contract::Answer& answer);
  void report(std::string_view stage, std::int64_t done, std::int64_t total);
  // One more token of any answer.
  void report_token();

  // Answer `number` has ended. After the last of them the listener gets the reply.
  void ended(std::uint32_t number, EndedAnswer ended);
  // Each is the last call to the listener.
  void encoded(models::Encoding encoding);
  void failed(Error error) { listener_->failed(std::move(error)); }

 private:
  void reply();
  contract::Receipt receipt() const;

  std::shared_ptr<models::Job> job_;
  std::unique_ptr<const TokenPrompt> prompt_;
  std::shared_ptr<models::Listener> listener_;
  std::vector<std::string> warnings_;
  std::vector<EndedAnswer> ended_;  // by number
  std::size_t open_;
  std::int64_t tokens_ = 0;  // of all answers
  std::string_view reported_stage_;
  models::Clock::time_point reported_at_;
};

}  // namespace hearth::generate
