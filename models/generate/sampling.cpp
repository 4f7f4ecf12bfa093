#include "models/generate/sampling.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "models/generate/philox.h"

namespace hearth::generate {
namespace {

constexpr std::uint8_t kSeen = 1;
constexpr std::uint8_t kAnswered = 2;
constexpr double kLeastTemperature = 1e-30;  // below it a quotient may leave fp32: greedy
constexpr std::size_t kFirstStep = 64;       // candidates; most nuclei are smaller
constexpr std::size_t kLanes = 16;  // independent reductions, so that the compiler can use SIMD

bool penalises(const Sampling& sampling) {
  return sampling.repetition_penalty != 1.0 || sampling.presence_penalty != 0.0;
}

// Of equal weights the lower id comes first, as in greedy decoding. (Which of them transformers
// keeps depends on the sort of the machine.)
bool heavier(const Candidate& a, const Candidate& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
}

float largest(std::span<const float> values) {
  std::array<float, kLanes> best;
  best.fill(-std::numeric_limits<float>::infinity());
  std::size_t at = 0;
  for (; at + kLanes <= values.size(); at += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      best[lane] = values[at + lane] > best[lane] ? values[at + lane] : best[lane];
  for (; at < values.size(); ++at) best[0] = std::max(best[0], values[at]);
  return *std::max_element(best.begin(), best.end());
}

double sum_of(std::span<const Candidate> candidates) {
  double sum = 0.0;
  for (const Candidate& candidate : candidates) sum += candidate.weight;
  return sum;
}

std::int32_t draw(std::span<const Candidate> candidates, double uniform) {
  const double target = uniform * sum_of(candidates);
  double sum = 0.0;
  std::int32_t last = candidates.front().id;  // rounding may put `target` on the very end
  for (const Candidate& candidate : candidates) {
    if (candidate.weight <= 0.0F) continue;
    sum += candidate.weight;
    last = candidate.id;
    if (target < sum) break;
  }
  return last;
}

}  // namespace

History::History(std::int32_t vocabulary_size, std::span<const std::int32_t> prompt,
                 std::int32_t expected_answer)
    : marks_(static_cast<std::size_t>(vocabulary_size)) {
  const std::size_t answer = static_cast<std::size_t>(std::max(expected_answer, 0));
  seen_.reserve(std::min(marks_.size(), prompt.size() + answer));
  answered_.reserve(std::min(marks_.size(), answer));
  for (const std::int32_t id : prompt)
    if (mark(id, kSeen)) seen_.push_back(id);
}

void History::add(std::int32_t answer_id) {
  if (mark(answer_id, kSeen)) seen_.push_back(answer_id);
  if (mark(answer_id, kAnswered)) answered_.push_back(answer_id);
}

bool History::mark(std::int32_t id, std::uint8_t bit) {
  if (id < 0 || static_cast<std::size_t>(id) >= marks_.size()) return false;
  std::uint8_t& marks = marks_[static_cast<std::size_t>(id)];
  const bool first = (marks & bit) == 0;
  marks |= bit;
  return first;
}

Sampler::Sampler(std::int32_t vocabulary_size)
    : scores_(static_cast<std::size_t>(vocabulary_size)) {
  candidates_.reserve(scores_.size());
  sorting_.reserve(scores_.size());
  heap_.reserve(scores_.size());
}

std::int32_t Sampler::pick(std::span<const float> logits, const Sampling& sampling,
                           const History& history, std::uint32_t step) {
  if (sampling.temperature > kLeastTemperature)
    return draw(candidates(logits, sampling, history),
                philox_uniform(sampling.seed, sampling.answer_index, step));
  return argmax(penalises(sampling) ? penalised(logits, sampling, history) : logits);
}

std::span<const Candidate> Sampler::candidates(std::span<const float> logits,
                                               const Sampling& sampling, const History& history) {
  penalised(logits, sampling, history);
  if (sampling.temperature != 1.0) {
    const float temperature = static_cast<float>(sampling.temperature);
    for (float& score : scores_) score /= temperature;
  }
  collect(scores_, sampling.top_k);
  weigh();
  if (sampling.top_p < 1.0) keep_nucleus(sampling.top_p);
  if (sampling.min_p > 0.0) keep_likely(sampling.min_p);
  return candidates_;
}

// Repetition: score < 0 ? score * penalty : score / penalty, for prompt and answer, in greedy too.
std::span<const float> Sampler::penalised(std::span<const float> logits, const Sampling& sampling,
                                          const History& history) {
  std::copy(logits.begin(), logits.end(), scores_.begin());
  const float repetition = static_cast<float>(sampling.repetition_penalty);
  if (repetition != 1.0F) {
    for (const std::int32_t id : history.seen()) {
      float& score = scores_[static_cast<std::size_t>(id)];
      score = score < 0.0F ? score * repetition : score / repetition;
    }
  }
  const float presence = static_cast<float>(sampling.presence_penalty);
  if (presence != 0.0F)
    for (const std::int32_t id : history.answered())
      scores_[static_cast<std::size_t>(id)] -= presence;
  return scores_;
}

// All ids whose score reaches the k-th largest, so equals of the k-th stay; all ids for top_k = 0.
void Sampler::collect(std::span<const float> scores, std::int32_t top_k) {
  float least = -std::numeric_limits<float>::infinity();
  const std::size_t k = static_cast<std::size_t>(std::max(top_k, 0));
  if (k > 0 && k < scores.size()) {
    heap_.assign(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(k));
    std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
    for (const float score : scores.subspan(k)) {
      if (score <= heap_.front()) continue;
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      heap_.back() = score;
      std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
    }
    least = heap_.front();
  }
  candidates_.clear();
  for (std::size_t id = 0; id < scores.size(); ++id)
    if (scores[id] >= least)
      candidates_.push_back({static_cast<std::int32_t>(id), scores[id], 0.0F});
}

// Softmax over the candidates, in fp32 with the sum in double.
void Sampler::weigh() {
  float peak = candidates_.front().score;
  for (const Candidate& candidate : candidates_) peak = std::max(peak, candidate.score);
  double sum = 0.0;
  for (Candidate& candidate : candidates_) {
    candidate.weight = std::exp(candidate.score - peak);
    sum += candidate.weight;
  }
  for (Candidate& candidate : candidates_) candidate.weight /= static_cast<float>(sum);
}

// Drops what lies, in upward order, at or below a cumulated probability of 1 - top_p; the token
// that crosses it stays, and the likeliest always. Finds the border by halving instead of sorting,
// from the likely end with growing steps: a peaked distribution costs one pass, a flat one a few.
void Sampler::keep_nucleus(double top_p) {
  sorting_.assign(candidates_.begin(), candidates_.end());
  const auto at = [&](std::size_t index) {
    return sorting_.begin() + static_cast<std::ptrdiff_t>(index);
  };
  const float dropped = static_cast<float>(1.0 - top_p);
  std::size_t kept = 0;                  // sorting_[0, kept) stays, the last of them the lightest
  std::size_t border = sorting_.size();  // sorting_[border, …) goes
  double below = sum_of(sorting_);       // probability of sorting_[kept, …)
  for (std::size_t step = kFirstStep; kept < border; step *= 4) {
    const std::size_t middle = kept + std::min((border - kept) / 2, step);
    std::nth_element(at(kept), at(middle), at(border), heavier);
    const double heavier_ones = sum_of({at(kept), at(middle)});
    if (middle > 0 && static_cast<float>(below - heavier_ones) <= dropped) {
      border = middle;
    } else {
      below -= heavier_ones + sorting_[middle].weight;
      kept = middle + 1;
    }
  }
  const Candidate least = sorting_[kept - 1];
  std::erase_if(candidates_, [&](const Candidate& c) { return heavier(least, c); });
}

// Drops what is less likely than min_p times the likeliest.
void Sampler::keep_likely(double min_p) {
  float peak = 0.0F;
  for (const Candidate& candidate : candidates_) peak = std::max(peak, candidate.weight);
  const float least = static_cast<float>(min_p) * peak;
  std::erase_if(candidates_, [&](const Candidate& c) { return c.weight < least; });
}

// Exponent bits all ones means NaN or infinity. Integer maxima vectorise; a NaN test would not.
bool all_finite(std::span<const float> logits) {
  std::array<std::uint32_t, kLanes> worst{};
  std::size_t at = 0;
  const auto magnitude = [&](std::size_t index) {
    return std::bit_cast<std::uint32_t>(logits[index]) & 0x7FFFFFFFU;
  };
  for (; at + kLanes <= logits.size(); at += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      worst[lane] = std::max(worst[lane], magnitude(at + lane));
  for (; at < logits.size(); ++at) worst[0] = std::max(worst[0], magnitude(at));
  return *std::max_element(worst.begin(), worst.end()) < 0x7F800000U;
}

std::int32_t argmax(std::span<const float> values) {
  const float peak = largest(values);
  const auto found = std::find(values.begin(), values.end(), peak);
  return static_cast<std::int32_t>(found - values.begin());
}

}  // namespace hearth::generate
