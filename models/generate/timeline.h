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

class Timeline {
 public:
  explicit Timeline(std::int32_t expected_tokens);

  void begin_started() { begin_started_ = models::Clock::now(); }
  void begin_finished() { begin_finished_ = models::Clock::now(); }
  void token();
  void prompt_finished();  // of a prompt that no token follows

  // [generated tokens] microseconds since the token before, 0 for the first.
  std::span<const std::int32_t> token_us() const { return token_us_; }

  // The worker's part: of the queue the time that it waited here. The broker adds to that, and
  // load, first token, total and model. Times in ms.
  contract::Receipt receipt(const TokenPrompt& prompt, const Reuse& reuse,
                            const ReceiptLabels& labels) const;

 private:
  models::Clock::time_point submitted_ = models::Clock::now();
  models::Clock::time_point begin_started_;
  models::Clock::time_point begin_finished_;
  models::Clock::time_point first_token_;
  models::Clock::time_point last_token_;
  std::vector<std::int32_t> token_us_;  // since the token before; 0 for the first
};

}  // namespace hearth::generate
