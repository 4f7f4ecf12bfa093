// The activations of a run in memory that is there from load on, so that a step allocates nothing.
//
// Engine thread only. Views borrow the workspace's memory.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/decoder/plan.h"

namespace hearth::engine {

// Every buffer cut to the rows of one run.
struct RowViews {
  std::int64_t rows = 0;
  std::array<at::Tensor, decoder::kBuffers> buffers;

  at::Tensor& operator[](decoder::Buffer buffer) {
    return buffers[static_cast<std::size_t>(buffer)];
  }
};

class Workspace {
 public:
  // `max_rows` of a run, `max_chosen` of them with logits.
  Workspace(const decoder::Description& description, std::int64_t max_rows, std::int64_t max_chosen,
            at::TensorOptions options);

  std::int64_t max_rows() const { return max_rows_; }
  std::int64_t max_chosen() const { return max_chosen_; }

  // Views of `rows` rows, of kChosen and kLogits `chosen`. Valid until the next call.
  RowViews& cut(std::int64_t rows, std::int64_t chosen);

  // f32 scratch memory number 0, 1 or 2, with this shape.
  at::Tensor scratch(std::size_t number, at::IntArrayRef shape) const;

 private:
  std::int64_t max_rows_;
  std::int64_t max_chosen_;
  std::array<at::Tensor, decoder::kBuffers> buffers_;
  std::array<at::Tensor, 3> scratch_;  // [elements]
  RowViews current_;
};

}  // namespace hearth::engine
