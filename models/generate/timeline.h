// When things happened to one sequence, and the receipt made of it.
//
// Wall clock as the user lives it: prefill lasts from the slot's being ready to the first token,
// also when other sequences were stepped in between. Engine thread only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/generate/decoder.h"
#include "models/model.h"

namespace hearth::generate {

struct ReceiptLabels {
  std::string device;  // device name
  std::string dtype;   // arithmetic type: "float32", "bfloat16"
};

// What a sequence did not have to compute.
struct Reuse {
  std::int32_t tokens = 0;    // of the prompt
  std::int32_t pictures = 0;  // that the vision tower did not see
};

// What one answer adds to its request's receipt.
struct AnswerTimes {
  contract::Receipt receipt;  // as if it were the only answer
  models::Clock::time_point first_token;
  models::Clock::time_point last_token;
};

class Timeline {
 public:
  // `arrived`: when the request came to this process.
  Timeline(std::int32_t expected_tokens, models::Clock::time_point arrived);

  void begin_started() { begin_started_ = models::Clock::now(); }
  void begin_finished() { begin_finished_ = models::Clock::now(); }
  void token();
  void prompt_finished();  // of a prompt that no token follows

  std::int32_t tokens() const { return static_cast<std::int32_t>(token_us_.size()); }
  // [generated tokens] microseconds since the token before, 0 for the first.
  std::span<const std::int32_t> token_us() const { return token_us_; }

  // The worker's part. Its queue is all the time from arrival to the slot in which nothing was done
  // for the request: it waited for others' prompts to be prepared, for the step at hand, for a
  // slot. The broker adds its own queue, and load, first token, total and model. Times in ms;
  // together they are first_token_ms but for what passes between the processes. What the first
  // token takes is prefill: it is drawn where the prompt ends.
  contract::Receipt receipt(const TokenPrompt& prompt, const Reuse& reuse,
                            const ReceiptLabels& labels) const;
  AnswerTimes times(const TokenPrompt& prompt, const Reuse& reuse,
                    const ReceiptLabels& labels) const {
    return {receipt(prompt, reuse, labels), first_token_, last_token_};
  }

 private:
  models::Clock::time_point arrived_;
  models::Clock::time_point begin_started_;
  models::Clock::time_point begin_finished_;
  models::Clock::time_point first_token_;
  models::Clock::time_point last_token_;
  std::vector<std::int32_t> token_us_;  // since the token before; 0 for the first
};

}  // namespace hearth::generate
