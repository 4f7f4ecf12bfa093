#include "models/generate/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace hearth::generate {

// Each end id may end every beam's likeliest continuation: with that many more, enough go on.
BeamSearch::BeamSearch(Rules rules)
    : rules_(std::move(rules)),
      beams_(static_cast<std::size_t>(rules_.beams)),
      considered_(std::max<std::size_t>(2, 1 + rules_.end_ids.size()) * beams_),
      running_(1) {}

bool BeamSearch::better(const Continuation& a, const Continuation& b) {
  if (a.sum != b.sum) return a.sum > b.sum;
  return a.from != b.from ? a.from < b.from : a.token < b.token;
}

// The best of all continuations of all beams, best first. A heap holds them, the worst on top.
std::vector<BeamSearch::Continuation> BeamSearch::best(
    std::span<const std::vector<float>> log_probabilities) const {
  std::vector<Continuation> heap;
  for (std::size_t from = 0; from < running_.size(); ++from) {
    const std::vector<float>& row = log_probabilities[from];
    for (std::size_t token = 0; token < row.size(); ++token) {
      const Continuation next{running_[from].sum + row[token], static_cast<std::int32_t>(from),
                              static_cast<std::int32_t>(token)};
      const bool full = heap.size() == considered_;
      if (std::isinf(row[token]) || (full && !better(next, heap.front()))) continue;
      if (full) {
        std::pop_heap(heap.begin(), heap.end(), better);
        heap.pop_back();
      }
      heap.push_back(next);
      std::push_heap(heap.begin(), heap.end(), better);
    }
  }
  std::sort_heap(heap.begin(), heap.end(), better);
  return heap;
}

// Why this answer ends here; empty when it goes on.
std::string_view BeamSearch::end_of(const Running& beam) const {
  const auto& ends = rules_.end_ids;
  if (std::find(ends.begin(), ends.end(), beam.token()) != ends.end()) return "end_token";
  if (rules_.stops && rules_.stops(beam.from, beam.token())) return "stop_string";
  return beam.ids.size() >= static_cast<std::size_t>(rules_.max_tokens) ? "max_tokens" : "";
}

double BeamSearch::score(double sum, std::size_t length) const {
  return sum / std::pow(static_cast<double>(length), rules_.length_penalty);
}

// Of equal scores the one that finished first stays ahead.
void BeamSearch::finish(Finished finished) {
  const auto place =
      std::upper_bound(finished_.begin(), finished_.end(), finished,
                       [](const Finished& a, const Finished& b) { return a.score > b.score; });
  finished_.insert(place, std::move(finished));
  if (finished_.size() > beams_) finished_.pop_back();
}

// transformers' heuristic: as if the best running beam could end here and now.
bool BeamSearch::can_improve() const {
  if (running_.empty()) return false;
  if (finished_.size() < beams_) return true;
  if (rules_.early_stopping) return false;
  const Running& first = running_.front();
  return score(first.sum, first.ids.size()) > finished_.back().score;
}

void BeamSearch::advance(std::span<const std::vector<float>> log_probabilities) {
  std::vector<Running> next;
  const std::vector<Continuation> all = best(log_probabilities);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    const Continuation& one = all[rank];
    Running beam{one.from, running_[static_cast<std::size_t>(one.from)].ids, one.sum};
    beam.ids.push_back(one.token);
    const std::string_view reason = end_of(beam);
    if (reason.empty()) {
      if (next.size() < beams_) next.push_back(std::move(beam));
    } else if (rank < beams_) {  // what ends further down is worse than enough that go on
      const double reached = score(beam.sum, beam.ids.size());
      finish({std::move(beam.ids), reached, reason});
    }
  }
  running_ = std::move(next);
  over_ = !can_improve();
}

}  // namespace hearth::generate
