// Decode steps as captured graphs: one launch a step in place of hundreds.
//
// A graph is captured for a bucket, a number of rows and a number of cached tokens that a step is
// rounded up to, and is used only when it has been shown, at load, to give the same bits as the
// launches it was captured from. A bucket without a proved graph is launched as it is, and a remark
// says so.
//
// Ownership: StepGraphs owns its graphs; the capturing device outlives it. Engine thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "shm/base/result.h"

namespace hearth::decoder {

// What a step is rounded up to. Rows beyond the step's own have slot -1.
struct StepBucket {
  std::int32_t rows = 0;
  std::int32_t most_tokens = 0;
  friend bool operator==(const StepBucket&, const StepBucket&) = default;
};

class Graph {
 public:
  virtual ~Graph() = default;
  virtual Result<void> launch() = 0;
};

// A stream whose launches can be recorded.
class GraphCapture {
 public:
  virtual ~GraphCapture() = default;
  virtual Result<void> begin() = 0;
  // Ready to launch. Ends the recording in any case.
  virtual Result<std::unique_ptr<Graph>> end() = 0;
  virtual void abandon() noexcept = 0;
};

// A step that can be made again and again from the same state, to compare what comes out.
class RepeatableStep {
 public:
  virtual ~RepeatableStep() = default;
  // Everything that launch() reads and changes, as it was before.
  virtual Result<void> reset() = 0;
  // The step's kernels: no copy from the host, no wait.
  virtual Result<void> launch(const StepBucket& bucket) = 0;
  // Waits. Everything that the step has computed: logits, slots, tokens.
  virtual Result<std::vector<std::byte>> outcome() = 0;
};

class StepGraphs {
 public:
  // For steps of up to `slots` rows and `context_tokens` cached tokens.
  StepGraphs(GraphCapture& capture, std::int32_t slots, std::int32_t context_tokens);

  // In the order in which they are captured: the smallest first.
  const std::vector<StepBucket>& buckets() const { return buckets_; }
  // The smallest bucket that holds such a step. `rows` is in [1, slots], `most_tokens` in
  // [1, context_tokens].
  StepBucket bucket(std::int32_t rows, std::int32_t most_tokens) const;

  // Captures and proves the graphs of all buckets. A graph that cannot be captured or differs is
  // left out with a remark; an error is one of the step itself, which will not run without graphs
  // either.
  Result<void> capture_all(RepeatableStep& step);

  // Launches the bucket's graph; false when it has none and the caller launches the step itself.
  Result<bool> launch(const StepBucket& bucket);

  std::int32_t captured() const;
  const std::vector<std::string>& remarks() const { return remarks_; }

 private:
  Result<void> prove(std::size_t index, RepeatableStep& step);
  Result<std::unique_ptr<Graph>> record(const StepBucket& bucket, RepeatableStep& step);
  void refuse(const StepBucket& bucket, const std::string& why);

  GraphCapture& capture_;
  std::vector<StepBucket> buckets_;
  std::vector<std::unique_ptr<Graph>> graphs_;  // as buckets_; null without a proved one
  std::vector<std::string> remarks_;
};

}  // namespace hearth::decoder
