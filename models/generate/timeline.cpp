#include "models/generate/timeline.h"

#include <algorithm>

namespace hearth::generate {
namespace {

constexpr float kStallFactor = 3.0F;  // of the median step

double ms_between(models::Clock::time_point from, models::Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

std::uint32_t count_stalls(std::vector<float> step_ms) {
  if (step_ms.empty()) return 0;
  const auto middle = step_ms.begin() + static_cast<std::ptrdiff_t>(step_ms.size() / 2);
  std::nth_element(step_ms.begin(), middle, step_ms.end());
  const float limit = kStallFactor * *middle;
  return static_cast<std::uint32_t>(
      std::count_if(step_ms.begin(), step_ms.end(), [&](float ms) { return ms > limit; }));
}

}  // namespace

Timeline::Timeline(std::int32_t expected_tokens) {
  step_ms_.reserve(static_cast<std::size_t>(std::max(expected_tokens, 1)));
}

void Timeline::token() {
  const auto now = models::Clock::now();
  if (tokens_++ == 0)
    first_token_ = now;
  else
    step_ms_.push_back(static_cast<float>(ms_between(last_token_, now)));
  last_token_ = now;
}

void Timeline::prompt_finished() {
  first_token_ = last_token_ = models::Clock::now();
}

contract::Receipt Timeline::receipt(const TokenPrompt& prompt, const Reuse& reuse,
                                    const ReceiptLabels& labels) const {
  contract::Receipt receipt;
  receipt.preprocess_ms = prompt.preprocess_ms;
  receipt.queue_ms = ms_between(submitted_, begin_started_);
  receipt.vision_ms = ms_between(begin_started_, begin_finished_);
  receipt.prefill_ms = ms_between(begin_finished_, first_token_);
  receipt.decode_ms = ms_between(first_token_, last_token_);
  receipt.prompt_tokens = static_cast<std::uint32_t>(prompt.ids.size());
  receipt.image_tokens = prompt.image_tokens;
  receipt.cached_tokens = static_cast<std::uint32_t>(reuse.tokens);
  receipt.cached_pictures = static_cast<std::uint32_t>(reuse.pictures);
  receipt.generated_tokens = tokens_;
  if (receipt.decode_ms > 0.0)
    receipt.tokens_per_second = (tokens_ - 1) / (receipt.decode_ms / 1000.0);
  for (const float ms : step_ms_)
    receipt.slowest_token_ms = std::max(receipt.slowest_token_ms, static_cast<double>(ms));
  receipt.stalls = count_stalls(step_ms_);
  receipt.device = labels.device;
  receipt.dtype = labels.dtype;
  return receipt;
}

}  // namespace hearth::generate
