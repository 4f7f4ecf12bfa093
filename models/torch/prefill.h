// Runs a chunk of a prompt through a decoder's plan: many rows of one sequence at a time.
//
// Keys and values go to the pages of the decoder's step executor, which decodes on from there.
//
// Ownership: owns activations of a chunk; borrows weights, device memory and the step executor.
// Engine thread only, inside c10::InferenceMode. Throws what ATen throws.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/decoder/description.h"
#include "models/decoder/plan.h"
#include "models/decoder/step.h"
#include "models/torch/attention.h"
#include "models/torch/compute.h"
#include "models/torch/delta_rule.h"
#include "models/torch/expert_groups.h"
#include "models/torch/features.h"
#include "models/torch/linear.h"

namespace hearth::engine {

// Rows [row, row + count) of a chunk are the picture's feature rows from `feature_row` on.
struct MediaRows {
  std::int32_t row = 0;
  std::int32_t count = 0;
  const Features* features = nullptr;
  std::int32_t feature_row = 0;
};

// Takes hidden state `state` of all rows of a chunk.
struct Tap {
  std::int32_t state = 0;  // counted as in generate::Taps
  at::Tensor rows;         // [rows, hidden] on the host, in whatever floating type is wanted
};

struct Run {
  std::int32_t slot = 0;
  std::int32_t first = 0;                   // how many tokens the slot has already
  std::span<const std::int32_t> ids;        // [rows], at most max_rows()
  std::span<const std::int32_t> positions;  // [3, rows]: time, height, width
  std::span<const MediaRows> media = {};
  std::span<const Tap> taps = {};
  // Ends with the deepest tap: the caches of deeper layers stay unwritten.
  bool taps_only = false;
  // Rows from here on are wanted as the last layer leaves them: hidden(). Of the others that layer
  // computes keys and values only.
  std::int32_t wanted_from = 0;
};

class Prefill {
 public:
  // Errors: out_of_memory.
  static Result<std::unique_ptr<Prefill>> create(const decoder::Description& description,
                                                 const decoder::Weights& weights,
                                                 decoder::Step& step, const Compute& compute,
                                                 std::int32_t max_rows);
  // Device memory that it takes, ATen's workspaces aside.
  static std::uint64_t scratch_bytes(const decoder::Description& description, HearthType type,
                                     std::int32_t max_rows, std::int32_t context_tokens);

  std::int32_t max_rows() const { return max_rows_; }
  // Errors: internal, unsupported, out_of_memory.
  Result<void> run(const Run& run);
  // [hidden] of a wanted row as the last layer left it, before the final norm, in the arithmetic
  // type. Valid until the next run; of a run with taps_only it is nothing.
  const void* hidden(std::int32_t row) const;
  // Gives ATen's memory that is kept between chunks back.
  void drop_scratch() {
    linears_.drop_scratch();
    attention_.drop_scratch();
  }

 private:
  // Rows [first, first + rows) of the chunk.
  struct Part {
    std::int64_t first = 0;
    std::int64_t rows = 0;
  };
  // What changes from chunk to chunk, on the device. [max_rows]
  struct Rows {
    std::int32_t* token = nullptr;
    std::int32_t* slot = nullptr;
    std::int32_t* index = nullptr;
    std::int32_t* position = nullptr;  // [3, rows]
    float* cosines = nullptr;          // [rows, head_dim / 2]
    float* sines = nullptr;
  };

  Prefill(const decoder::Description& description, const decoder::Weights& weights,
          decoder::Step& step, const Compute& compute, std::int32_t max_rows);
  Result<void> allocate();
  Result<void> begin(const Run& run);
  Result<void> execute(const decoder::Op& op, const Run& run, const Part& part);
  Result<void> embed(const Run& run);
  Result<void> product(const decoder::Op& op, const Part& part);
  Result<void> route(const decoder::Op& op, const Part& part);
  Result<void> expert_linear(const decoder::Op& op, const Part& part);
  Result<void> few_experts(const decoder::Op& op, const Part& part);
  Result<void> many_experts(const decoder::Op& op, const Part& part);
  Result<void> gather_rows(const decoder::Op& op, const Part& part);
  Result<void> combine(const decoder::Op& op, const Part& part);
  Result<void> gate(const decoder::Op& op, const Part& part);
  DeltaChunk delta_chunk(const decoder::Op& op, const Run& run) const;
  Result<void> rope_write(const decoder::Op& op, std::int64_t rows);
  Result<void> attention(const decoder::Op& op, const Run& run, const Part& part);
  void add_deepstack(const decoder::Op& op, const Run& run);
  Result<void> tap(const decoder::Op& op, const Run& run);
  Result<void> norm(const float* weight, const Part& part);
  void* buffer(decoder::Buffer which, std::int64_t row = 0) const;
  std::int64_t width(decoder::Buffer which) const {
    return widths_[static_cast<std::size_t>(which)];
  }
  at::Tensor hidden_rows(std::int64_t row, std::int64_t count) const;
  float epsilon() const { return static_cast<float>(description_.norm_epsilon); }

  const decoder::Description& description_;
  const decoder::LayerDescription& layer_;  // all layers have its heads
  const decoder::Weights& weights_;
  decoder::Step& step_;
  const Compute compute_;
  const std::int32_t max_rows_;
  const std::vector<decoder::Op> plan_;
  const decoder::Op* const last_write_;  // what follows it is only for the rows that are wanted
  const decoder::Widths widths_;
  Linears linears_;
  Attention attention_;
  DeltaRules delta_rules_;
  std::array<decoder::DeviceBlock, decoder::kBuffers> buffers_;  // [max_rows, width]; no logits
  decoder::DeviceBlock normed_;                                  // [max_rows, hidden]
  ExpertGroups groups_;                                          // of the layer at hand
  decoder::DeviceBlock keys_, values_;                           // [kv_heads, context, head_dim]
  decoder::DeviceBlock rows_block_;
  Rows rows_;
  std::vector<std::int32_t> scratch_rows_;  // on their way to the device
};

}  // namespace hearth::engine
