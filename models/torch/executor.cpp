#include "models/torch/executor.h"

#include <algorithm>
#include <cassert>

#include <ATen/TensorOperators.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/silu.h>

#include "models/torch/attention.h"
#include "models/torch/tensors.h"

namespace hearth::engine {

using decoder::Buffer;
using decoder::OpKind;

namespace {

// -1 without taps.
std::int32_t deepest(std::span<const Tap> taps) {
  std::int32_t state = -1;
  for (const Tap& tap : taps) state = std::max(state, tap.state);
  return state;
}

}  // namespace

Executor::Executor(const decoder::Description& description, const decoder::Weights& weights,
                   ExecutorLimits limits, at::TensorOptions options)
    : description_(description),
      layer_(description.layers.front()),
      limits_(limits),
      options_(options),
      rope_(description.rope, layer_.head_dim),
      cache_(description, limits.slots, limits.context_tokens, options),
      workspace_(description, limits.max_rows, limits.max_chosen, options) {
  for (const decoder::Op& op : build_plan(description, weights)) {
    BoundOp bound{op, {}, {}};
    if (op.linear != nullptr) bound.linear = BoundLinear(*op.linear);
    if (op.weight != nullptr) bound.weight = view_of(*op.weight);
    ops_.push_back(std::move(bound));
  }
  host_ids_ = at::empty({limits.max_rows}, at::kLong);
  host_cosines_ = at::empty({limits.max_rows, rope_.half()}, at::kFloat);
  host_sines_ = at::empty({limits.max_rows, rope_.half()}, at::kFloat);
  host_logits_ = at::empty({limits.max_chosen, description.vocabulary_size}, at::kFloat);
}

void Executor::run(const Run& run) {
  begin(run);
  const std::int32_t last = run.taps_only ? deepest(run.taps) : -1;
  for (const BoundOp& bound : ops_) {
    if (bound.op.kind == OpKind::kChooseRows && run.chosen.empty()) return;
    execute(bound, run);
    if (bound.op.kind == OpKind::kTap && bound.op.state == last) return;
  }
  publish_logits();
}

void Executor::begin(const Run& run) {
  const auto rows = static_cast<std::int64_t>(run.ids.size());
  assert(rows > 0 && rows <= limits_.max_rows && run.positions.size() == 3 * run.ids.size());
  views_ = &workspace_.cut(rows, static_cast<std::int64_t>(run.chosen.size()));
  std::copy(run.ids.begin(), run.ids.end(), host_ids_.mutable_data_ptr<std::int64_t>());
  const auto angles = static_cast<std::size_t>(rows * rope_.half());
  rope_.fill(run.positions, {host_cosines_.mutable_data_ptr<float>(), angles},
             {host_sines_.mutable_data_ptr<float>(), angles});
  const auto placed = [&](const at::Tensor& host) {
    return host.narrow(0, 0, rows).to(options_.device());
  };
  ids_ = placed(host_ids_);
  cosines_ = placed(host_cosines_).unsqueeze(1);
  sines_ = placed(host_sines_).unsqueeze(1);
  masks_.assign(run.segments.size(), at::Tensor());
  for (std::size_t i = 0; i < run.segments.size(); ++i) {
    const Segment& segment = run.segments[i];
    assert(segment.cached + segment.count <= limits_.context_tokens);
    if (segment.count > 1 && segment.cached > 0)
      masks_[i] = causal_mask(segment.count, segment.cached, options_);
  }
}

void Executor::execute(const BoundOp& bound, const Run& run) {
  switch (bound.op.kind) {
    case OpKind::kEmbed:
      return embed(bound, run);
    case OpKind::kAddRmsNorm:
      buffer(Buffer::kHidden).add_(buffer(Buffer::kBranch));
      [[fallthrough]];
    case OpKind::kRmsNorm:
      return norm(bound);
    case OpKind::kLinear:
      return linear(bound.linear, buffer(bound.op.in), buffer(bound.op.out));
    case OpKind::kQkNormRopeWrite:
      return qk_norm_rope_write(bound, run);
    case OpKind::kAttention:
      return attention(bound, run);
    case OpKind::kSwiGlu:
      return swiglu(bound);
    case OpKind::kAdd:
      buffer(bound.op.out).add_(buffer(bound.op.in));
      return;
    case OpKind::kAddDeepstack:
      return add_deepstack(bound, run);
    case OpKind::kTap:
      return tap(bound, run);
    case OpKind::kChooseRows:
      return choose_rows(bound, run);
  }
}

void Executor::embed(const BoundOp& bound, const Run& run) {
  at::Tensor& hidden = buffer(bound.op.out);
  at::index_select_out(hidden, bound.weight, 0, ids_);
  for (const MediaRows& media : run.media)
    hidden.narrow(0, media.row, media.count)
        .copy_(media.features->rows.narrow(0, media.feature_row, media.count));
}

void Executor::norm(const BoundOp& bound) {
  norm_rows(buffer(bound.op.in), bound.weight, buffer(bound.op.out));
}

// out = in / sqrt(mean(in²) + epsilon) * weight over the last dimension, in f32, rounded once.
void Executor::norm_rows(const at::Tensor& in, const at::Tensor& weight, at::Tensor& out) const {
  at::Tensor x = in;
  if (!is_f32() && in.scalar_type() != at::kFloat) {
    x = workspace_.scratch(0, in.sizes());
    x.copy_(in);
  }
  at::Tensor square = workspace_.scratch(1, in.sizes());
  at::mul_out(square, x, x);
  std::vector<std::int64_t> reduced = in.sizes().vec();
  reduced.back() = 1;
  at::Tensor scale = workspace_.scratch(2, reduced);
  constexpr std::int64_t kLast = -1;
  at::mean_out(scale, square, at::IntArrayRef(&kLast, 1), true);
  scale.add_(description_.norm_epsilon).rsqrt_();
  at::mul_out(square, x, scale);
  if (out.scalar_type() == at::kFloat) {
    at::mul_out(out, square, weight);
  } else {
    out.copy_(square.mul_(weight));
  }
}

void Executor::qk_norm_rope_write(const BoundOp& bound, const Run& run) {
  const at::Tensor qkv =
      buffer(bound.op.in).view({views_->rows, layer_.qkv_heads(), layer_.head_dim});
  const at::Tensor qk = qkv.narrow(1, 0, layer_.qk_heads());
  at::Tensor normed = workspace_.scratch(0, qk.sizes());
  normed.copy_(qk);
  if (bound.weight.defined()) norm_rows(normed, bound.weight, normed);
  if (is_f32()) {
    rotate(normed, qk);
  } else {
    const at::Tensor rotated = workspace_.scratch(1, qk.sizes());
    rotate(normed, rotated);
    qk.copy_(rotated);
  }
  write_cache(bound.op.layer, qkv, run);
}

// Turns channel pairs (i, i + half) by their angles. [rows, heads, head_dim], f32
void Executor::rotate(const at::Tensor& from, const at::Tensor& to) const {
  const std::int64_t half = rope_.half();
  const at::Tensor left = from.narrow(2, 0, half);
  const at::Tensor right = from.narrow(2, half, half);
  at::Tensor turned_left = to.narrow(2, 0, half);
  at::Tensor turned_right = to.narrow(2, half, half);
  at::mul_out(turned_left, left, cosines_);
  turned_left.addcmul_(right, sines_, -1);
  at::mul_out(turned_right, right, cosines_);
  turned_right.addcmul_(left, sines_);
}

void Executor::write_cache(std::int32_t layer, const at::Tensor& qkv, const Run& run) const {
  for (const Segment& segment : run.segments) {
    const at::Tensor rows = qkv.narrow(0, segment.row, segment.count).transpose(0, 1);
    cache_.keys(segment.slot, layer)
        .narrow(1, segment.cached, segment.count)
        .copy_(rows.narrow(0, layer_.heads, layer_.kv_heads));
    cache_.values(segment.slot, layer)
        .narrow(1, segment.cached, segment.count)
        .copy_(rows.narrow(0, layer_.qk_heads(), layer_.kv_heads));
  }
}

void Executor::attention(const BoundOp& bound, const Run& run) {
  const at::Tensor queries = buffer(bound.op.in)
                                 .view({views_->rows, layer_.qkv_heads(), layer_.head_dim})
                                 .narrow(1, 0, layer_.heads);
  const std::int32_t layer = bound.op.layer;
  for (std::size_t i = 0; i < run.segments.size(); ++i) {
    const Segment& segment = run.segments[i];
    const std::int64_t length = segment.cached + segment.count;
    attend({.queries = queries.narrow(0, segment.row, segment.count),
            .keys = cache_.keys(segment.slot, layer).narrow(1, 0, length),
            .values = cache_.values(segment.slot, layer).narrow(1, 0, length),
            .output = buffer(bound.op.out).narrow(0, segment.row, segment.count)},
           masks_[i]);
  }
}

void Executor::swiglu(const BoundOp& bound) {
  const at::Tensor& both = buffer(bound.op.in);
  at::Tensor& out = buffer(bound.op.out);
  at::silu_out(out, both.narrow(1, 0, layer_.intermediate_size));
  out.mul_(both.narrow(1, layer_.intermediate_size, layer_.intermediate_size));
}

void Executor::add_deepstack(const BoundOp& bound, const Run& run) {
  for (const MediaRows& media : run.media) {
    const at::Tensor& level = media.features->deepstack[static_cast<std::size_t>(bound.op.level)];
    buffer(bound.op.out)
        .narrow(0, media.row, media.count)
        .add_(level.narrow(0, media.feature_row, media.count));
  }
}

void Executor::tap(const BoundOp& bound, const Run& run) {
  const auto wanted = [&](const Tap& tap) { return tap.state == bound.op.state; };
  if (std::none_of(run.taps.begin(), run.taps.end(), wanted)) return;
  if (bound.weight.defined()) norm(bound);
  const at::Tensor& state = buffer(bound.weight.defined() ? bound.op.out : bound.op.in);
  for (const Tap& tap : run.taps)
    if (wanted(tap)) tap.rows.copy_(state);
}

void Executor::choose_rows(const BoundOp& bound, const Run& run) {
  for (std::size_t i = 0; i < run.chosen.size(); ++i)
    buffer(bound.op.out)
        .select(0, static_cast<std::int64_t>(i))
        .copy_(buffer(bound.op.in).select(0, run.chosen[i]));
}

void Executor::publish_logits() {
  const at::Tensor& logits = buffer(Buffer::kLogits);
  host_logits_.narrow(0, 0, logits.size(0)).copy_(logits);
}

std::span<const float> Executor::logits(std::int32_t row) const {
  const auto width = static_cast<std::size_t>(description_.vocabulary_size);
  return {host_logits_.const_data_ptr<float>() + static_cast<std::size_t>(row) * width, width};
}

}  // namespace hearth::engine
