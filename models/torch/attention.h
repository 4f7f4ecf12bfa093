// Attention of new tokens over a slot's cache, by ATen's scaled_dot_product_attention.
//
// Causal; scale head_dim^-0.5; softmax in f32. Engine thread only.
#pragma once

#include <ATen/core/Tensor.h>

namespace hearth::engine {

// One sequence's part of a run.
struct AttentionCall {
  at::Tensor queries;  // [count, heads, head_dim], rotated
  at::Tensor keys;     // [kv_heads, length, head_dim]: the cache up to and with the new tokens
  at::Tensor values;   // likewise
  at::Tensor output;   // [count, heads * head_dim]
};

// `mask`: [count, length] added to the scores, from causal_mask(); undefined when count is 1 or the
// cache held nothing before.
void attend(const AttentionCall& call, const at::Tensor& mask);

// 0 where query i may see key j (j <= cached + i), else -inf.
at::Tensor causal_mask(std::int64_t count, std::int64_t cached, at::TensorOptions options);

}  // namespace hearth::engine
