#include "models/torch/attention.h"

#include <limits>

#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>

#include "models/torch/tensors.h"

namespace hearth::engine {

Result<void> Attention::run(const HearthFlash& call) {
  if (compute_.attention == AttentionBy::kFlash)
    return decoder::check_status(hearth_flash_cpu(&call), "attention of many rows");
  call.segments == nullptr ? causal(call) : segmented(call);
  return {};
}

// In which ATen computes.
at::ScalarType Attention::type() const {
  return compute_.attention == AttentionBy::kEager ? at::kFloat : compute_.library;
}

// queries, keys, values: [.., heads, rows or keys, head_dim]
at::Tensor Attention::attend(const at::Tensor& queries, const at::Tensor& keys,
                             const at::Tensor& values, const Seen& seen) const {
  if (compute_.attention != AttentionBy::kEager)
    return at::scaled_dot_product_attention(queries, keys, values, seen.mask, 0.0, seen.causal,
                                            seen.scale);
  at::Tensor scores = at::matmul(queries, keys.transpose(-2, -1)).mul_(seen.scale);
  if (seen.mask) scores.add_(*seen.mask);
  return at::matmul(at::softmax(scores, -1), values);
}

// [heads, rows, head_dim] of rows that hold the heads side by side, in type().
at::Tensor Attention::rows(const HearthFlash& call, const void* data, std::int64_t heads,
                           std::int64_t stride) const {
  return view_at(data, {heads, call.rows, call.head_dim}, {call.head_dim, stride, 1},
                 compute_.options())
      .to(type());
}

// [kv_heads, length, head_dim] of keys or values.
at::Tensor Attention::cached(const HearthFlash& call, const void* data) const {
  return view_at(data, {call.kv_heads, call.length, call.head_dim},
                 {call.head_stride, call.token_stride, 1}, compute_.options())
      .to(type());
}

// Key heads become the batch, so that a group's queries share their keys without a copy.
void Attention::causal(const HearthFlash& call) {
  const std::int64_t group = call.heads / call.kv_heads;
  const std::int64_t length = call.first + call.rows;
  const at::Tensor queries =
      rows(call, call.query, call.heads, call.query_stride).unflatten(0, {call.kv_heads, group});
  const auto shared = [&](const void* data) {
    return cached(call, data).narrow(1, 0, length).unsqueeze(1).expand({-1, group, -1, -1});
  };
  Seen seen{.scale = static_cast<double>(call.scale)};
  seen.causal = call.first == 0 && compute_.attention == AttentionBy::kLibrary;
  if (!seen.causal) seen.mask = mask(call.rows, call.first);
  const at::Tensor attended = attend(queries, shared(call.keys), shared(call.values), seen);
  view_at(call.output, {call.heads, call.rows, call.head_dim},
          {call.head_dim, call.output_stride, 1}, compute_.options())
      .copy_(attended.flatten(0, 1));
}

void Attention::segmented(const HearthFlash& call) const {
  const at::Tensor queries = rows(call, call.query, call.heads, call.query_stride);
  const at::Tensor keys = cached(call, call.keys);
  const at::Tensor values = cached(call, call.values);
  const at::Tensor output = view_at(call.output, {call.heads, call.rows, call.head_dim},
                                    {call.head_dim, call.output_stride, 1}, compute_.options());
  const std::int64_t group = call.heads / call.kv_heads;
  for (std::int64_t i = 0; i < call.segment_count; ++i) {
    const std::int64_t first = call.segments[i];
    const std::int64_t count = call.segments[i + 1] - first;
    const auto part = [&](const at::Tensor& tensor) {
      return tensor.narrow(1, first, count).unsqueeze(0);
    };
    const auto shared = [&](const at::Tensor& tensor) {
      return group == 1 ? part(tensor) : part(tensor).repeat_interleave(group, 1);
    };
    const at::Tensor attended = attend(part(queries), shared(keys), shared(values),
                                       {.scale = static_cast<double>(call.scale)});
    output.narrow(1, first, count).copy_(attended.squeeze(0));
  }
}

// 0 where query i may see key j (j <= first + i), else -inf. All layers of a chunk want the same.
const at::Tensor& Attention::mask(std::int64_t rows, std::int64_t first) {
  if (mask_.defined() && mask_.size(0) == rows && mask_first_ == first) return mask_;
  mask_first_ = first;
  mask_ = at::full({rows, first + rows}, -std::numeric_limits<double>::infinity(),
                   compute_.options().dtype(type()))
              .triu_(first + 1);
  return mask_;
}

}  // namespace hearth::engine
