#include "models/torch/attention.h"

#include <limits>

#include <ATen/ops/full.h>
#include <ATen/ops/scaled_dot_product_attention.h>

namespace hearth::engine {
namespace {

// Of one token: the query heads that share a key head are the rows of one small matrix, and all of
// them may see every key.
at::Tensor attend_one(const AttentionCall& call, std::int64_t kv_heads, std::int64_t group) {
  const at::Tensor queries = call.queries.reshape({1, kv_heads, group, call.queries.size(2)});
  return at::scaled_dot_product_attention(queries, call.keys.unsqueeze(0), call.values.unsqueeze(0))
      .reshape({1, -1});
}

// Key heads become the batch, so that a group's queries share their keys without a copy.
at::Tensor attend_many(const AttentionCall& call, std::int64_t kv_heads, std::int64_t group,
                       const at::Tensor& mask) {
  const std::int64_t count = call.queries.size(0);
  const std::int64_t head_dim = call.queries.size(2);
  const at::Tensor queries =
      call.queries.view({count, kv_heads, group, head_dim}).permute({1, 2, 0, 3});
  const std::int64_t length = call.keys.size(1);
  const auto shared = [&](const at::Tensor& cache) {
    return cache.unsqueeze(1).expand({kv_heads, group, length, head_dim});
  };
  const bool causal = !mask.defined();
  const std::optional<at::Tensor> added = causal ? std::nullopt : std::optional<at::Tensor>(mask);
  return at::scaled_dot_product_attention(queries, shared(call.keys), shared(call.values), added,
                                          0.0, causal)
      .permute({2, 0, 1, 3})
      .reshape({count, -1});
}

}  // namespace

void attend(const AttentionCall& call, const at::Tensor& mask) {
  const std::int64_t kv_heads = call.keys.size(0);
  const std::int64_t group = call.queries.size(1) / kv_heads;
  call.output.copy_(call.queries.size(0) == 1 ? attend_one(call, kv_heads, group)
                                              : attend_many(call, kv_heads, group, mask));
}

at::Tensor causal_mask(std::int64_t count, std::int64_t cached, at::TensorOptions options) {
  at::Tensor mask =
      at::full({count, cached + count}, -std::numeric_limits<double>::infinity(), options);
  return mask.triu_(cached + 1);
}

}  // namespace hearth::engine
