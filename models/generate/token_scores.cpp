#include "models/generate/token_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hearth::generate {
namespace {

std::vector<std::int32_t> each_once(std::span<const std::int32_t> ids) {
  std::vector<std::int32_t> set(ids.begin(), ids.end());
  std::sort(set.begin(), set.end());
  set.erase(std::unique(set.begin(), set.end()), set.end());
  return set;
}

void log_softmax(std::span<float> logits) {
  const float peak = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(logit - peak);
  const double shift = double{peak} + std::log(sum);
  for (float& logit : logits) logit = static_cast<float>(logit - shift);
}

float& at(std::span<float> scores, std::int32_t id) {
  return scores[static_cast<std::size_t>(id)];
}

}  // namespace

TokenScores::TokenScores(std::span<const std::int32_t> prompt_ids, const Sampling& sampling)
    : repetition_(sampling.repetition_penalty),
      presence_(sampling.presence_penalty),
      frequency_(sampling.frequency_penalty),
      ngram_(static_cast<std::size_t>(sampling.no_repeat_ngram)),
      prompt_tokens_(prompt_ids.size()),
      prompt_set_(each_once(prompt_ids)),
      all_(prompt_ids.begin(), prompt_ids.end()) {}

void TokenScores::process(std::span<const std::int32_t> answer, std::span<float> logits) {
  log_softmax(logits);
  if (repetition_ != 1.0 || presence_ != 0.0 || frequency_ != 0.0) penalise(answer, logits);
  if (ngram_ > 0) ban_repeated(answer, logits);
}

void TokenScores::penalise(std::span<const std::int32_t> answer, std::span<float> scores) {
  seen_.assign(answer.begin(), answer.end());
  std::sort(seen_.begin(), seen_.end());
  const auto repeat = [&](std::int32_t id) {
    float& score = at(scores, id);
    score = static_cast<float>(score < 0.0F ? score * repetition_ : score / repetition_);
  };
  for (const std::int32_t id : prompt_set_) repeat(id);
  for (auto first = seen_.begin(); first != seen_.end();) {
    const auto end = std::upper_bound(first, seen_.end(), *first);
    if (!std::binary_search(prompt_set_.begin(), prompt_set_.end(), *first)) repeat(*first);
    at(scores, *first) -=
        static_cast<float>(presence_ + frequency_ * static_cast<double>(end - first));
    first = end;
  }
}

// Every id that has followed the last ngram - 1 ids before.
void TokenScores::ban_repeated(std::span<const std::int32_t> answer, std::span<float> scores) {
  all_.resize(prompt_tokens_);
  all_.insert(all_.end(), answer.begin(), answer.end());
  const std::size_t before = ngram_ - 1;
  if (all_.size() <= before) return;
  const auto tail = all_.end() - static_cast<std::ptrdiff_t>(before);
  for (std::size_t i = 0; i + before < all_.size(); ++i) {
    const auto first = all_.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::equal(tail, all_.end(), first))
      at(scores, all_[i + before]) = -std::numeric_limits<float>::infinity();
  }
}

}  // namespace hearth::generate
