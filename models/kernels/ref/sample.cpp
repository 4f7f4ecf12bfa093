// Sampling by full sorts, in the order of transformers' processors (GenerationMixin; presence and
// frequency penalty are extensions and come after repetition). Numbers are fp32 as there; sums are
// kept in double.

#include "models/kernels/ref/sample.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "models/kernels/check_operations.h"
#include "models/kernels/philox.h"
#include "models/kernels/ref/functions.h"
#include "models/kernels/sequence.h"
#include "models/kernels/settings.h"
#include "models/kernels/workspace.h"

namespace hearth::kernels {
namespace {

float score_of(const HearthSample& call, std::int64_t row, std::int64_t id) {
  const HearthSlot& slot = call.slots[call.slot[row]];
  if (is_masked(mask_of(call, call.slot[row]), id)) return -std::numeric_limits<float>::infinity();
  const std::uint16_t count = call.counts[call.slot[row] * call.vocabulary + id];
  float score = call.logits[row * call.logits_stride + id];
  if (count != 0)
    score = score < 0.0F ? score * slot.repetition_penalty : score / slot.repetition_penalty;
  const int answered = count & kCountAnswered;
  if (answered != 0) score -= slot.presence_penalty;
  score -= slot.frequency_penalty * static_cast<float>(answered);
  return is_greedy(slot) ? score : score / slot.temperature;
}

// Of equal weights the lower id comes first, as in greedy decoding. (Which of them transformers
// keeps depends on the sort of the machine.)
bool heavier(const Candidate& a, const Candidate& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
}

// The workspace of the rows, one row at a time: two lists of candidates.
struct Lists {
  Candidate* kept;
  Candidate* sorted;
  std::int64_t count;
};

// Ids whose score reaches the k-th largest, so equals of the k-th stay.
void keep_top_k(Lists& lists, std::int32_t top_k) {
  if (top_k <= 0 || top_k >= lists.count) return;
  std::copy(lists.kept, lists.kept + lists.count, lists.sorted);
  std::sort(lists.sorted, lists.sorted + lists.count,
            [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  const float least = lists.sorted[top_k - 1].score;
  lists.count = std::remove_if(lists.kept, lists.kept + lists.count,
                               [&](const Candidate& c) { return c.score < least; }) -
                lists.kept;
}

// Softmax over the candidates.
void weigh(Lists& lists) {
  float peak = lists.kept[0].score;
  for (std::int64_t i = 0; i < lists.count; ++i) peak = std::max(peak, lists.kept[i].score);
  double sum = 0.0;
  for (std::int64_t i = 0; i < lists.count; ++i) {
    lists.kept[i].weight = std::exp(lists.kept[i].score - peak);
    sum += lists.kept[i].weight;
  }
  for (std::int64_t i = 0; i < lists.count; ++i) lists.kept[i].weight /= static_cast<float>(sum);
}

// Drops what lies, in upward order, at or below a cumulated probability of 1 - top_p; the token
// that crosses it stays, and the likeliest always.
void keep_nucleus(Lists& lists, float top_p) {
  if (top_p >= 1.0F) return;
  std::copy(lists.kept, lists.kept + lists.count, lists.sorted);
  std::sort(lists.sorted, lists.sorted + lists.count, heavier);
  double below = 0.0;
  for (std::int64_t i = 0; i < lists.count; ++i) below += lists.sorted[i].weight;
  const float dropped = static_cast<float>(1.0 - double{top_p});
  std::int64_t kept = 0;
  while (kept < lists.count && (kept == 0 || static_cast<float>(below) > dropped))
    below -= lists.sorted[kept++].weight;
  const Candidate least = lists.sorted[kept - 1];
  lists.count = std::remove_if(lists.kept, lists.kept + lists.count,
                               [&](const Candidate& c) { return heavier(least, c); }) -
                lists.kept;
}

// Drops what is less likely than min_p times the likeliest.
void keep_likely(Lists& lists, float min_p) {
  if (min_p <= 0.0F) return;
  float peak = 0.0F;
  for (std::int64_t i = 0; i < lists.count; ++i) peak = std::max(peak, lists.kept[i].weight);
  lists.count = std::remove_if(lists.kept, lists.kept + lists.count,
                               [&](const Candidate& c) { return c.weight < min_p * peak; }) -
                lists.kept;
}

// In the order of how far their surprise lies from the expected one, those up to the id with which
// typical_p is reached, and its equals. Scores are logarithms of the weights but for a constant, so
// their distance from the mean score is the same. Masked ids are infinitely far.
void keep_typical(Lists& lists, float typical_p) {
  if (typical_p >= 1.0F) return;
  double total = 0.0;
  double sum = 0.0;
  for (std::int64_t i = 0; i < lists.count; ++i) {
    const Candidate& candidate = lists.kept[i];
    if (candidate.weight <= 0.0F) continue;
    total += candidate.weight;
    sum += double{candidate.weight} * candidate.score;
  }
  const double mean = sum / total;
  const auto distance = [&](const Candidate& c) { return std::abs(double{c.score} - mean); };
  std::copy(lists.kept, lists.kept + lists.count, lists.sorted);
  std::sort(lists.sorted, lists.sorted + lists.count,
            [&](const Candidate& a, const Candidate& b) { return distance(a) < distance(b); });
  double reached = 0.0;
  std::int64_t last = 0;
  while (last + 1 < lists.count &&
         (reached += lists.sorted[last].weight) < double{typical_p} * total)
    ++last;
  const double furthest = distance(lists.sorted[last]);
  lists.count = std::remove_if(lists.kept, lists.kept + lists.count,
                               [&](const Candidate& c) { return distance(c) > furthest; }) -
                lists.kept;
}

std::int32_t draw(std::span<const Candidate> candidates, double uniform) {
  double total = 0.0;
  for (const Candidate& candidate : candidates) total += candidate.weight;
  double sum = 0.0;
  std::int32_t last = candidates.front().id;  // rounding may put the target on the very end
  for (const Candidate& candidate : candidates) {
    if (candidate.weight <= 0.0F) continue;
    sum += candidate.weight;
    last = candidate.id;
    if (uniform * total < sum) break;
  }
  return last;
}

std::int32_t greedy(const HearthSample& call, std::int64_t row) {
  std::int64_t best = 0;
  for (std::int64_t id = 1; id < call.vocabulary; ++id)
    if (score_of(call, row, id) > score_of(call, row, best)) best = id;
  return static_cast<std::int32_t>(best);
}

std::int32_t pick(const HearthSample& call, std::int64_t row) {
  const HearthSlot& slot = call.slots[call.slot[row]];
  if (is_greedy(slot)) return greedy(call, row);
  return draw(ref::candidates(call, row), philox_uniform(slot.seed, slot.answer_index, slot.step));
}

bool all_finite(const HearthSample& call, std::int64_t row) {
  const float* logits = call.logits + row * call.logits_stride;
  return std::all_of(logits, logits + call.vocabulary, [](float x) { return std::isfinite(x); });
}

}  // namespace

std::span<const Candidate> ref::candidates(const HearthSample& call, std::int64_t row) {
  const HearthSlot& slot = call.slots[call.slot[row]];
  auto* first = static_cast<Candidate*>(call.workspace);
  Lists lists{first, first + call.vocabulary, call.vocabulary};
  for (std::int64_t id = 0; id < call.vocabulary; ++id)
    lists.kept[id] = {static_cast<std::int32_t>(id), score_of(call, row, id), 0.0F};
  keep_top_k(lists, slot.top_k);
  weigh(lists);
  keep_nucleus(lists, slot.top_p);
  keep_likely(lists, slot.min_p);
  keep_typical(lists, slot.typical_p);
  return {lists.kept, static_cast<std::size_t>(lists.count)};
}

HearthStatus ref::sample(const HearthSample* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  RingWriter ring(*call);
  for (std::int64_t row = 0; row < call->rows; ++row) {
    if (!is_running(call->slots, call->slot[row]))
      ring.nothing(row);
    else if (!all_finite(*call, row))
      ring.not_finite(row);
    else
      ring.drawn(row, pick(*call, row));
  }
  ring.publish();
  return HEARTH_OK;
}

}  // namespace hearth::kernels
