#include "models/decoder/step_graphs.h"

#include <algorithm>
#include <array>
#include <cassert>

#include <fmt/format.h>

namespace hearth::decoder {
namespace {

constexpr std::array kRows = {1, 2, 3, 4, 6, 8, 12, 16};
constexpr std::array kTokens = {512, 2048, 8192, 32768};

// The steps of `all` up to the first that reaches `most`, which takes its place.
template <std::size_t kCount>
std::vector<std::int32_t> steps_to(const std::array<int, kCount>& all, std::int32_t most) {
  std::vector<std::int32_t> steps;
  for (const int step : all)
    if (step < most) steps.push_back(step);
  steps.push_back(most);
  return steps;
}

std::string name_of(const StepBucket& bucket) {
  return fmt::format("the graph for {} rows and {} cached tokens", bucket.rows, bucket.most_tokens);
}

}  // namespace

StepGraphs::StepGraphs(GraphCapture& capture, std::int32_t slots, std::int32_t context_tokens)
    : capture_(capture) {
  for (const std::int32_t tokens : steps_to(kTokens, context_tokens))
    for (const std::int32_t rows : steps_to(kRows, slots)) buckets_.push_back({rows, tokens});
  graphs_.resize(buckets_.size());
}

StepBucket StepGraphs::bucket(std::int32_t rows, std::int32_t most_tokens) const {
  assert(rows >= 1 && rows <= buckets_.back().rows);
  assert(most_tokens >= 1 && most_tokens <= buckets_.back().most_tokens);
  // Sorted by tokens, then by rows: the first that holds the step is the smallest.
  return *std::find_if(buckets_.begin(), buckets_.end(), [&](const StepBucket& bucket) {
    return bucket.rows >= rows && bucket.most_tokens >= most_tokens;
  });
}

Result<void> StepGraphs::capture_all(RepeatableStep& step) {
  for (std::size_t i = 0; i < buckets_.size(); ++i) CHECK_OK(prove(i, step));
  return {};
}

Result<void> StepGraphs::prove(std::size_t index, RepeatableStep& step) {
  const StepBucket& bucket = buckets_[index];
  CHECK_OK(step.reset());
  CHECK_OK(step.launch(bucket));
  TRY(const std::vector<std::byte> expected, step.outcome());

  Result<std::unique_ptr<Graph>> graph = record(bucket, step);
  if (!graph) {
    refuse(bucket, graph.error().what);
    return {};
  }
  CHECK_OK(step.reset());
  if (const Result<void> launched = (*graph)->launch(); !launched) {
    refuse(bucket, launched.error().what);
    return {};
  }
  TRY(const std::vector<std::byte> got, step.outcome());
  if (got.size() != expected.size() || !std::equal(got.begin(), got.end(), expected.begin())) {
    const auto differs = std::mismatch(got.begin(), got.end(), expected.begin(), expected.end());
    refuse(bucket,
           fmt::format("it differs from the step it was captured from, first at byte {} of {}",
                       differs.first - got.begin(), expected.size()));
    return {};
  }
  graphs_[index] = std::move(*graph);
  return {};
}

Result<std::unique_ptr<Graph>> StepGraphs::record(const StepBucket& bucket, RepeatableStep& step) {
  CHECK_OK(capture_.begin());
  if (Result<void> launched = step.launch(bucket); !launched) {
    capture_.abandon();
    return launched.error();
  }
  return capture_.end();
}

void StepGraphs::refuse(const StepBucket& bucket, const std::string& why) {
  remarks_.push_back(fmt::format("{} is not used: {}", name_of(bucket), why));
}

Result<bool> StepGraphs::launch(const StepBucket& bucket) {
  const auto found = std::find(buckets_.begin(), buckets_.end(), bucket);
  assert(found != buckets_.end());
  const std::unique_ptr<Graph>& graph = graphs_[static_cast<std::size_t>(found - buckets_.begin())];
  if (graph == nullptr) return false;
  CHECK_OK(graph->launch());
  return true;
}

std::int32_t StepGraphs::captured() const {
  return static_cast<std::int32_t>(std::count_if(
      graphs_.begin(), graphs_.end(), [](const auto& graph) { return graph != nullptr; }));
}

}  // namespace hearth::decoder
