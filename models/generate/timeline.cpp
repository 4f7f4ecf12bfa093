#include "models/generate/timeline.h"

#include <algorithm>

namespace hearth::generate {
namespace {

constexpr std::int64_t kStallFactor = 3;  // of the median step

double ms_between(models::Clock::time_point from, models::Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

// Steps longer than three times the median one.
std::uint32_t count_stalls(std::vector<std::int32_t> steps_us) {
  if (steps_us.empty()) return 0;
  const auto middle = steps_us.begin() + static_cast<std::ptrdiff_t>(steps_us.size() / 2);
  std::nth_element(steps_us.begin(), middle, steps_us.end());
  const std::int64_t limit = kStallFactor * std::int64_t{*middle};
  return static_cast<std::uint32_t>(
      std::count_if(steps_us.begin(), steps_us.end(), [&](std::int32_t us) { return us > limit; }));
}

}  // namespace

Timeline::Timeline(std::int32_t expected_tokens, models::Clock::time_point arrived)
    : arrived_(arrived) {
  token_us_.reserve(static_cast<std::size_t>(std::max(expected_tokens, 1)));
}

void Timeline::token() {
  const auto now = models::Clock::now();
  if (token_us_.empty()) first_token_ = last_token_ = now;
  using Microseconds = std::chrono::duration<std::int32_t, std::micro>;  // 35 minutes
  token_us_.push_back(std::chrono::duration_cast<Microseconds>(now - last_token_).count());
  last_token_ = now;
}

void Timeline::prompt_finished() {
  first_token_ = last_token_ = models::Clock::now();
}

contract::Receipt Timeline::receipt(const TokenPrompt& prompt, const Reuse& reuse,
                                    const ReceiptLabels& labels) const {
  contract::Receipt receipt;
  receipt.preprocess_ms = prompt.preprocess_ms;
  receipt.queue_ms = std::max(0.0, ms_between(arrived_, begin_started_) - prompt.preprocess_ms);
  receipt.vision_ms = ms_between(begin_started_, begin_finished_);
  receipt.prefill_ms = ms_between(begin_finished_, first_token_);
  receipt.decode_ms = ms_between(first_token_, last_token_);
  receipt.prompt_tokens = static_cast<std::uint32_t>(prompt.ids.size());
  receipt.image_tokens = prompt.image_tokens;
  receipt.cached_tokens = static_cast<std::uint32_t>(reuse.tokens);
  receipt.cached_pictures = static_cast<std::uint32_t>(reuse.pictures);
  receipt.generated_tokens = static_cast<std::uint32_t>(token_us_.size());
  if (token_us_.size() > 1) {
    const std::vector<std::int32_t> steps_us(token_us_.begin() + 1, token_us_.end());
    receipt.slowest_token_ms = *std::max_element(steps_us.begin(), steps_us.end()) / 1000.0;
    receipt.stalls = count_stalls(steps_us);
    if (receipt.decode_ms > 0.0)
      receipt.tokens_per_second =
          static_cast<double>(steps_us.size()) / (receipt.decode_ms / 1000.0);
  }
  receipt.device = labels.device;
  receipt.dtype = labels.dtype;
  return receipt;
}

}  // namespace hearth::generate
