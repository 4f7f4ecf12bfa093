// Runs a decoder's step plan with ATen, on whatever device the weights are.
//
// Ownership: owns caches, activations and the plan; borrows the weights, which must outlive it.
// Engine thread only, inside c10::InferenceMode. Throws what ATen throws.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/decoder/description.h"
#include "models/decoder/plan.h"
#include "models/decoder/rope.h"
#include "models/decoder/weights.h"
#include "models/torch/features.h"
#include "models/torch/kv_cache.h"
#include "models/torch/linear.h"
#include "models/torch/workspace.h"

namespace hearth::engine {

struct ExecutorLimits {
  std::int32_t slots = 1;
  std::int32_t context_tokens = 4096;
  std::int32_t max_rows = 512;   // tokens of one run
  std::int32_t max_chosen = 16;  // of these, rows with logits
};

// Rows [row, row + count) of a run are tokens [cached, cached + count) of `slot`.
struct Segment {
  std::int32_t slot = 0;
  std::int32_t row = 0;
  std::int32_t count = 0;
  std::int32_t cached = 0;
};

// Rows [row, row + count) of a run are the picture's feature rows from `feature_row` on.
struct MediaRows {
  std::int32_t row = 0;
  std::int32_t count = 0;
  const Features* features = nullptr;
  std::int32_t feature_row = 0;
};

// Takes hidden state `state` of all rows of a run.
struct Tap {
  std::int32_t state = 0;  // counted as in generate::Taps
  at::Tensor rows;         // [rows, hidden] on the host, in whatever floating type is wanted
};

struct Run {
  std::span<const std::int32_t> ids;        // [rows]
  std::span<const std::int32_t> positions;  // [3, rows]: time, height, width
  std::span<const Segment> segments;        // cover all rows in order
  std::span<const MediaRows> media;
  std::span<const std::int32_t> chosen;  // rows whose logits are wanted; may be none
  std::span<const Tap> taps = {};
  // Ends with the deepest tap: no logits, and the caches of deeper layers stay unwritten.
  bool taps_only = false;
};

class Executor {
 public:
  // `weights` is borrowed and lies on `device` in `type` (norms in f32).
  Executor(const decoder::Description& description, const decoder::Weights& weights,
           ExecutorLimits limits, at::TensorOptions options);

  const ExecutorLimits& limits() const { return limits_; }
  std::uint64_t cache_bytes() const { return cache_.reserved_bytes(); }

  void run(const Run& run);
  // Of run.chosen[row]. fp32, [vocabulary]; valid until the next run.
  std::span<const float> logits(std::int32_t row) const;

 private:
  struct BoundOp {
    decoder::Op op;
    BoundLinear linear;
    at::Tensor weight;  // of norms and the embedding
  };

  void begin(const Run& run);
  void execute(const BoundOp& bound, const Run& run);
  void embed(const BoundOp& bound, const Run& run);
  void norm(const BoundOp& bound);
  void norm_rows(const at::Tensor& in, const at::Tensor& weight, at::Tensor& out) const;
  void qk_norm_rope_write(const BoundOp& bound, const Run& run);
  void rotate(const at::Tensor& from, const at::Tensor& to) const;
  void write_cache(std::int32_t layer, const at::Tensor& qkv, const Run& run) const;
  void attention(const BoundOp& bound, const Run& run);
  void swiglu(const BoundOp& bound);
  void add_deepstack(const BoundOp& bound, const Run& run);
  void tap(const BoundOp& bound, const Run& run);
  void choose_rows(const BoundOp& bound, const Run& run);
  void publish_logits();
  bool is_f32() const { return options_.dtype() == at::kFloat; }
  at::Tensor& buffer(decoder::Buffer which) { return (*views_)[which]; }

  const decoder::Description description_;
  const decoder::LayerDescription layer_;  // all layers have one shape
  const ExecutorLimits limits_;
  const at::TensorOptions options_;
  const decoder::RopeTable rope_;
  KvCache cache_;
  Workspace workspace_;
  std::vector<BoundOp> ops_;
  at::Tensor host_ids_;      // [max_rows], i64
  at::Tensor host_cosines_;  // [max_rows, head_dim / 2]
  at::Tensor host_sines_;
  at::Tensor host_logits_;  // [max_chosen, vocabulary]

  // Of the run at hand.
  RowViews* views_ = nullptr;
  at::Tensor ids_;      // [rows], on the device
  at::Tensor cosines_;  // [rows, 1, head_dim / 2], on the device
  at::Tensor sines_;
  std::vector<at::Tensor> masks_;  // by segment; undefined where none is needed
};

}  // namespace hearth::engine
