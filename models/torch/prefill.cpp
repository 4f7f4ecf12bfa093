#include "models/torch/prefill.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

#include "models/kernels/formats.h"
#include "models/torch/tensors.h"

namespace hearth::engine {

using decoder::Buffer;
using decoder::check_status;
using decoder::Op;
using decoder::OpKind;

namespace {

constexpr std::size_t kAxes = 3;

std::size_t buffer_bytes(Buffer buffer, const decoder::Description& description, HearthType type,
                         std::int32_t max_rows) {
  if (buffer == Buffer::kLogits) return 0;  // the step executor has the head
  return static_cast<std::size_t>(max_rows * width_of(buffer, description)) *
         item_bytes_of(buffer, type);
}

// Rows times experts that each of them chooses.
std::int64_t most_entries(const decoder::Description& description, std::int32_t max_rows) {
  return max_rows * width_of(Buffer::kChosen, description);
}

// Of keys or of values.
std::size_t gathered_bytes(const decoder::Description& description, HearthType type,
                           std::int32_t context_tokens) {
  const decoder::LayerDescription& layer = description.layers.front();
  return static_cast<std::size_t>(context_tokens) * static_cast<std::size_t>(layer.kv_heads) *
         static_cast<std::size_t>(layer.head_dim) * kernels::item_bytes(type);
}

std::size_t rows_bytes(const decoder::Description& description, std::int32_t max_rows) {
  const auto head_dim = static_cast<std::size_t>(description.layers.front().head_dim);
  return static_cast<std::size_t>(max_rows) *
         ((3 + kAxes) * sizeof(std::int32_t) + head_dim * sizeof(float));
}

// The last operation that leaves something of a row for later ones.
const Op* last_write(const std::vector<Op>& plan) {
  const auto found = std::find_if(plan.rbegin(), plan.rend(), [](const Op& op) {
    return op.kind == OpKind::kRopeWrite || op.kind == OpKind::kDeltaRule;
  });
  return &*found;  // every layer has one of them
}

// -1 without taps.
std::int32_t deepest(std::span<const Tap> taps) {
  std::int32_t state = -1;
  for (const Tap& tap : taps) state = std::max(state, tap.state);
  return state;
}

}  // namespace

Prefill::Prefill(const decoder::Description& description, const decoder::Weights& weights,
                 decoder::Step& step, const Compute& compute, std::int32_t max_rows)
    : description_(description),
      layer_(description.layers.front()),
      weights_(weights),
      step_(step),
      compute_(compute),
      max_rows_(max_rows),
      plan_(build_plan(description, weights)),
      last_write_(last_write(plan_)),
      widths_(widths_of(description)),
      linears_(compute),
      attention_(compute),
      delta_rules_(compute, description.delta_rule(), description.norm_epsilon) {}

Result<std::unique_ptr<Prefill>> Prefill::create(const decoder::Description& description,
                                                 const decoder::Weights& weights,
                                                 decoder::Step& step, const Compute& compute,
                                                 std::int32_t max_rows) {
  std::unique_ptr<Prefill> prefill(new Prefill(description, weights, step, compute, max_rows));
  CHECK_OK(prefill->allocate());
  return prefill;
}

std::uint64_t Prefill::scratch_bytes(const decoder::Description& description, HearthType type,
                                     std::int32_t max_rows, std::int32_t context_tokens) {
  std::uint64_t bytes = rows_bytes(description, max_rows) +
                        2 * gathered_bytes(description, type, context_tokens) +
                        buffer_bytes(Buffer::kHidden, description, type, max_rows) +
                        ExpertGroups::bytes(most_entries(description, max_rows));
  for (std::size_t i = 0; i < decoder::kBuffers; ++i)
    bytes += buffer_bytes(static_cast<Buffer>(i), description, type, max_rows);
  if (const decoder::DeltaRule* delta = description.delta_rule())
    bytes += DeltaRules::scratch_bytes(*delta, max_rows);
  return bytes;
}

Result<void> Prefill::allocate() {
  decoder::DeviceMemory& memory = *compute_.memory;
  const HearthType type = compute_.type;
  for (std::size_t i = 0; i < decoder::kBuffers; ++i) {
    const auto buffer = static_cast<Buffer>(i);
    TRY(buffers_[i], memory.allocate(buffer_bytes(buffer, description_, type, max_rows_)));
  }
  TRY(normed_, memory.allocate(buffer_bytes(Buffer::kHidden, description_, type, max_rows_)));
  TRY(groups_, ExpertGroups::create(memory, most_entries(description_, max_rows_)));
  const std::size_t gathered = gathered_bytes(description_, type, step_.limits().context_tokens);
  TRY(keys_, memory.allocate(gathered));
  TRY(values_, memory.allocate(gathered));
  TRY(rows_block_, memory.allocate(rows_bytes(description_, max_rows_)));
  auto* integers = rows_block_.as<std::int32_t>();
  const auto rows = static_cast<std::ptrdiff_t>(max_rows_);
  rows_ = {.token = integers,
           .slot = integers + rows,
           .index = integers + 2 * rows,
           .position = integers + 3 * rows};
  rows_.cosines = reinterpret_cast<float*>(rows_.position + 3 * rows);
  rows_.sines = rows_.cosines + rows * (layer_.head_dim / 2);
  return {};
}

Result<void> Prefill::run(const Run& run) {
  assert(!run.ids.empty() && run.ids.size() <= static_cast<std::size_t>(max_rows_));
  assert(run.positions.size() == kAxes * run.ids.size());
  const OnStream stream(compute_);
  CHECK_OK(begin(run));
  const std::int32_t last = run.taps_only ? deepest(run.taps) : -1;
  Part part{.first = 0, .rows = static_cast<std::int64_t>(run.ids.size())};
  for (const Op& op : plan_) {
    CHECK_OK(execute(op, run, part));
    if (op.kind == OpKind::kTap && op.index == last) break;
    if (&op != last_write_ || !run.taps.empty()) continue;
    part = {.first = run.wanted_from, .rows = part.rows - run.wanted_from};
    if (part.rows == 0) break;
  }
  return {};
}

void* Prefill::buffer(Buffer which, std::int64_t row) const {
  return buffers_[static_cast<std::size_t>(which)].as<std::byte>() +
         static_cast<std::size_t>(row * width(which)) * item_bytes_of(which, compute_.type);
}

const void* Prefill::hidden(std::int32_t row) const {
  return buffer(Buffer::kHidden, row);
}

// Writes what the chunk's rows compute on.
Result<void> Prefill::begin(const Run& run) {
  decoder::DeviceMemory& memory = *compute_.memory;
  const std::size_t rows = run.ids.size();
  const std::size_t bytes = rows * sizeof(std::int32_t);
  CHECK_OK(memory.write(rows_.token, run.ids.data(), bytes));
  CHECK_OK(memory.write(rows_.position, run.positions.data(), kAxes * bytes));
  scratch_rows_.assign(rows, run.slot);
  CHECK_OK(memory.write(rows_.slot, scratch_rows_.data(), bytes));
  std::iota(scratch_rows_.begin(), scratch_rows_.end(), run.first);
  CHECK_OK(memory.write(rows_.index, scratch_rows_.data(), bytes));
  const HearthRopeAngles angles{.rows = static_cast<std::int64_t>(rows),
                                .half = layer_.head_dim / 2,
                                .position = rows_.position,
                                .frequency = step_.frequencies(),
                                .axis = step_.axes(),
                                .cosines = rows_.cosines,
                                .sines = rows_.sines};
  return check_status(compute_.kernels().rope_angles(&angles, memory.stream()), "rope_angles");
}

Result<void> Prefill::execute(const Op& op, const Run& run, const Part& part) {
  const auto rows = static_cast<std::int64_t>(run.ids.size());
  CHECK_OK(compute_.memory->await(weights_of(op, weights_)));
  switch (op.kind) {
    case OpKind::kEmbed:
      return embed(run);
    case OpKind::kNormLinear:
    case OpKind::kLinearAdd:
      return product(op, part);
    case OpKind::kRoute:
      return route(op, part);
    case OpKind::kExpertLinear:
      return expert_linear(op, part);
    case OpKind::kCombine:
      return combine(op, part);
    case OpKind::kRopeWrite:
      return rope_write(op, rows);
    case OpKind::kAttention:
      return attention(op, run, part);
    case OpKind::kGate:
      return gate(op, part);
    case OpKind::kConvolve:
      delta_rules_.convolve(delta_chunk(op, run), op.weights->delta);
      return {};
    case OpKind::kDeltaRule:
      delta_rules_.run(delta_chunk(op, run), op.weights->delta);
      return {};
    case OpKind::kAddDeepstack:
      add_deepstack(op, run);
      return {};
    case OpKind::kTap:
      return tap(op, run);
    case OpKind::kHead:  // the step executor's: only a prompt's last row wants logits
      break;
  }
  return {};
}

Result<void> Prefill::embed(const Run& run) {
  const HearthEmbed call{.type = compute_.type,
                         .table = weights_.embedding,
                         .vocabulary = description_.vocabulary_size,
                         .width = description_.hidden_size,
                         .token = rows_.token,
                         .rows = static_cast<std::int64_t>(run.ids.size()),
                         .output = buffer(Buffer::kHidden),
                         .output_stride = description_.hidden_size};
  CHECK_OK(check_status(compute_.kernels().embed(&call, compute_.memory->stream()), "embed"));
  for (const MediaRows& media : run.media)
    hidden_rows(media.row, media.count)
        .copy_(media.features->rows.narrow(0, media.feature_row, media.count));
  return {};
}

Result<void> Prefill::product(const Op& op, const Part& part) {
  const HearthEpilogue store = op.swiglu ? HEARTH_SWIGLU : HEARTH_STORE;
  return linears_.run({.weight = op.linear->matrix,
                       .output_type = op.out == Buffer::kRouted ? HEARTH_F32 : compute_.type,
                       .epilogue = op.kind == OpKind::kLinearAdd ? HEARTH_ADD : store,
                       .activation = HEARTH_NO_ACTIVATION,
                       .rows = part.rows,
                       .input = buffer(op.in, part.first),
                       .input_stride = width(op.in),
                       .norm = op.norm == nullptr ? HEARTH_NO_NORM : HEARTH_RMS_NORM,
                       .norm_weight = op.norm,
                       .norm_bias = nullptr,
                       .norm_epsilon = epsilon(),
                       .bias = op.linear->bias,
                       .output = buffer(op.out, part.first),
                       .output_stride = width(op.out)});
}

Result<void> Prefill::rope_write(const Op& op, std::int64_t rows) {
  const HearthRopeWrite call{.type = compute_.type,
                             .rows = rows,
                             .heads = layer_.heads,
                             .qkv = buffer(op.in),
                             .qkv_stride = width(op.in),
                             .q_norm = op.weights->q_norm,
                             .k_norm = op.weights->k_norm,
                             .norm_epsilon = epsilon(),
                             .cosines = rows_.cosines,
                             .sines = rows_.sines,
                             .slot = rows_.slot,
                             .index = rows_.index,
                             .cache = step_.cache(op.index)};
  return check_status(compute_.kernels().rope_write(&call, compute_.memory->stream()),
                      "rope_write");
}

Result<void> Prefill::attention(const Op& op, const Run& run, const Part& part) {
  const std::int64_t length = run.first + static_cast<std::int64_t>(run.ids.size());
  const HearthGather gather{.cache = step_.cache(op.index),
                            .slot = run.slot,
                            .tokens = length,
                            .keys = keys_.data(),
                            .values = values_.data()};
  CHECK_OK(check_status(compute_.kernels().gather(&gather, compute_.memory->stream()), "gather"));
  return attention_.run(
      {.rows = part.rows,
       .heads = layer_.heads,
       .kv_heads = layer_.kv_heads,
       .head_dim = layer_.head_dim,
       .query = buffer(op.in, part.first),
       .query_stride = width(op.in),
       .length = length,
       .keys = keys_.data(),
       .values = values_.data(),
       .head_stride = length * layer_.head_dim,
       .token_stride = layer_.head_dim,
       .first = run.first + part.first,
       .segments = nullptr,
       .segment_count = 0,
       .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(layer_.head_dim))),
       .output = buffer(op.out, part.first),
       .output_stride = width(op.out)});
}

void Prefill::add_deepstack(const Op& op, const Run& run) {
  for (const MediaRows& media : run.media) {
    const at::Tensor& level = media.features->deepstack[static_cast<std::size_t>(op.index)];
    hidden_rows(media.row, media.count).add_(level.narrow(0, media.feature_row, media.count));
  }
}

Result<void> Prefill::tap(const Op& op, const Run& run) {
  const auto wanted = [&](const Tap& tap) { return tap.state == op.index; };
  if (std::none_of(run.taps.begin(), run.taps.end(), wanted)) return {};
  const auto rows = static_cast<std::int64_t>(run.ids.size());
  at::Tensor state = hidden_rows(0, rows);
  if (op.norm != nullptr) {
    CHECK_OK(norm(op.norm, {.first = 0, .rows = rows}));
    state = view_at(normed_.data(), state.sizes(), compute_.options());
  }
  for (const Tap& tap : run.taps)
    if (wanted(tap)) tap.rows.copy_(state);
  return {};
}

// Into normed_, from its first row on.
Result<void> Prefill::norm(const float* weight, const Part& part) {
  const std::int64_t hidden = description_.hidden_size;
  const HearthRmsNorm call{.type = compute_.type,
                           .rows = part.rows,
                           .width = hidden,
                           .input = buffer(Buffer::kHidden, part.first),
                           .input_stride = hidden,
                           .residual = nullptr,
                           .residual_stride = 0,
                           .weight = weight,
                           .epsilon = epsilon(),
                           .output = normed_.data(),
                           .output_stride = hidden};
  return check_status(compute_.kernels().rms_norm(&call, compute_.memory->stream()), "rms_norm");
}

// [count, hidden]
at::Tensor Prefill::hidden_rows(std::int64_t row, std::int64_t count) const {
  return view_at(hidden(static_cast<std::int32_t>(row)), {count, width(Buffer::kHidden)},
                 compute_.options());
}

}  // namespace hearth::engine
