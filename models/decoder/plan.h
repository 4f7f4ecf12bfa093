// The flat list of operations that one run of a decoder is, built once at load.
//
// A run takes n rows: the tokens of a prefill chunk, or one token of each running sequence. Prefill
// and decode, CPU and GPU run the same list; only the executor below each operation differs.
//
// Lifetime: operations point into the Weights they were built from.
#pragma once

#include <cstdint>
#include <vector>

#include "models/decoder/description.h"
#include "models/decoder/weights.h"

namespace hearth::decoder {

// The activations between operations, one row a token. [rows, width]
enum class Buffer : std::uint8_t {
  kHidden,     // the residual stream, hidden
  kNormed,     // hidden
  kQkv,        // (heads + 2 kv_heads) head_dim
  kAttended,   // heads head_dim
  kBranch,     // what attention or MLP adds to the residual stream, hidden
  kGateUp,     // 2 intermediate
  kActivated,  // intermediate
  kChosen,     // rows whose logits are wanted, hidden
  kLogits,     // of the chosen rows, vocabulary
};
inline constexpr std::size_t kBuffers = 9;

enum class OpKind : std::uint8_t {
  kEmbed,            // out = embedding[token]; picture rows are replaced by their features
  kRmsNorm,          // out = norm(in)
  kAddRmsNorm,       // hidden += branch; out = norm(hidden)
  kLinear,           // out = in weightᵀ + bias
  kQkNormRopeWrite,  // normalises and rotates queries and keys in place, writes keys and values
                     // to the layer's cache
  kAttention,        // out = softmax(q kᵀ / sqrt(head_dim)) v over the layer's cache
  kSwiGlu,           // out = silu(gate) * up
  kAdd,              // hidden += branch
  kAddDeepstack,     // hidden += feature level `level` at picture rows
  kTap,              // hands out hidden state `state`: in, or out = norm(in) when it has a weight
  kChooseRows,       // out = the rows of `in` whose logits are wanted; ends a run that wants none
};

struct Op {
  OpKind kind = OpKind::kAdd;
  Buffer in = Buffer::kHidden;
  Buffer out = Buffer::kHidden;
  std::int32_t layer = 0;              // of the cache
  std::int32_t level = 0;              // of DeepStack
  std::int32_t state = 0;              // kTap: counted as in generate::Taps
  const Linear* linear = nullptr;      // kLinear
  const WeightView* weight = nullptr;  // norms, kEmbed; kTap and kQkNormRopeWrite: may be absent
};

// `weights` must outlive the plan.
std::vector<Op> build_plan(const Description& description, const Weights& weights);

// Width of a buffer's rows in elements.
std::int64_t width_of(Buffer buffer, const Description& description);

}  // namespace hearth::decoder
