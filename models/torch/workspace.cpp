#include "models/torch/workspace.h"

#include <algorithm>
#include <cassert>

#include <ATen/ops/empty.h>
#include <c10/util/accumulate.h>

namespace hearth::engine {

using decoder::Buffer;

namespace {

bool of_chosen_rows(std::size_t buffer) {
  const auto kind = static_cast<Buffer>(buffer);
  return kind == Buffer::kChosen || kind == Buffer::kLogits;
}

}  // namespace

Workspace::Workspace(const decoder::Description& description, std::int64_t max_rows,
                     std::int64_t max_chosen, at::TensorOptions options)
    : max_rows_(max_rows), max_chosen_(max_chosen) {
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    const std::int64_t width = width_of(static_cast<Buffer>(i), description);
    buffers_[i] = at::empty({of_chosen_rows(i) ? max_chosen : max_rows, width}, options);
  }
  const std::int64_t widest =
      std::max(width_of(Buffer::kHidden, description), width_of(Buffer::kQkv, description));
  for (at::Tensor& scratch : scratch_)
    scratch = at::empty({max_rows * widest}, options.dtype(at::kFloat));
}

RowViews& Workspace::cut(std::int64_t rows, std::int64_t chosen) {
  assert(rows <= max_rows_ && chosen <= max_chosen_);
  current_.rows = rows;
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    const std::int64_t count = of_chosen_rows(i) ? chosen : rows;
    at::Tensor& view = current_.buffers[i];
    if (!view.defined() || view.size(0) != count) view = buffers_[i].narrow(0, 0, count);
  }
  return current_;
}

at::Tensor Workspace::scratch(std::size_t number, at::IntArrayRef shape) const {
  return scratch_[number].narrow(0, 0, c10::multiply_integers(shape)).view(shape);
}

}  // namespace hearth::engine
