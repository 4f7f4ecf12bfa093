// The flat list of operations that one run of a decoder is, built once at load.
//
// A run takes n rows: the tokens of a prefill chunk, or one token of each running sequence. The
// step executor (step.h) binds the list to kernels and fixed buffers; prefill (torch/) runs the
// same list with matrix products made for many rows.
//
// Lifetime: operations point into the Weights they were built from.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "models/decoder/description.h"
#include "models/decoder/weights.h"

namespace hearth::decoder {

// The activations between operations, one row a token. [rows, width]
enum class Buffer : std::uint8_t {
  kHidden,     // the residual stream, hidden
  kQkv,        // (heads + 2 kv_heads) head_dim, then gates of heads head_dim where there are some;
               // of a delta rule its channels, then z
  kGates,      // of a delta rule: b, then a, [2, value_heads]
  kAttended,   // heads head_dim, or value_heads value_dim
  kActivated,  // silu(gate) up: intermediate, or for experts [chosen, intermediate]
  kRouted,     // f32, what the router says of each expert, then the gate of a shared one
  kChosen,     // i32, numbers of the chosen experts
  kShares,     // f32, what they count
  kExperts,    // [chosen, hidden], their results
  kShared,     // as kActivated, of a shared expert
  kLogits,     // f32, vocabulary
};
inline constexpr std::size_t kBuffers = 11;

enum class OpKind : std::uint8_t {
  kEmbed,         // hidden = embedding[token]; picture rows are replaced by their features
  kNormLinear,    // out = linear(norm(in)); `swiglu`: silu(gate) * up of the interleaved result
  kLinearAdd,     // out += linear(in)
  kRoute,         // chooses experts and what they count by the router's results
  kExpertLinear,  // of each chosen expert: out = linear(norm(in)), in is the token's; `swiglu`
                  // as above. Without it `in` has a row for each chosen expert
  kCombine,       // hidden += the sum of the experts' results, each times what it counts
  kRopeWrite,     // normalises and rotates queries (in place) and keys; keys and values go to the
                  // layer's cache
  kAttention,     // out = softmax(q kᵀ / sqrt(head_dim)) v over the layer's cache
  kGate,          // out *= sigmoid of some columns of in
  kConvolve,      // in place: silu(the convolution over time); moves the layer's windows on
  kDeltaRule,     // out = what the delta rule reads of its state, normed and gated by z; moves the
                  // layer's states on
  kAddDeepstack,  // hidden += feature level `index` at picture rows
  kTap,           // hands out hidden state `index`: in, or norm(in) where there is a norm
  kHead,          // logits = linear(norm(hidden)) of the rows whose logits are wanted
};

struct Op {
  OpKind kind = OpKind::kEmbed;
  Buffer in = Buffer::kHidden;
  Buffer out = Buffer::kHidden;
  bool swiglu = false;
  // Of layers with a cache, or of those with a state, the how manieth; DeepStack level; hidden
  // state.
  std::int32_t index = 0;
  const float* norm = nullptr;            // [width of in]
  const Linear* linear = nullptr;         // kNormLinear, kLinearAdd, kHead
  const LayerWeights* weights = nullptr;  // kRopeWrite, kRoute, kExpertLinear, kCombine, kConvolve,
                                          // kDeltaRule
  // kGate. [count] of `in` from column `first`: one each of the `width` numbers of a row, or 1.
  struct Gates {
    std::int64_t first = 0, count = 0, width = 0;
  } gates = {};
};

// `weights` must outlive the plan.
std::vector<Op> build_plan(const Description& description, const Weights& weights);

// The weights that `op` reads; null for what it does not have.
std::array<const void*, 3> weights_of(const Op& op, const Weights& weights);

// Width of a buffer's rows in elements; 0 for one that no layer uses.
std::int64_t width_of(Buffer buffer, const Description& description);

// The widths of all buffers, by Buffer.
using Widths = std::array<std::int64_t, kBuffers>;
Widths widths_of(const Description& description);

// Bytes of a buffer's elements where the arithmetic type is `type`.
std::size_t item_bytes_of(Buffer buffer, HearthType type);

}  // namespace hearth::decoder
