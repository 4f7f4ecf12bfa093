#include "models/torch/delta_rule.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softplus.h>

#include "models/torch/tensors.h"

namespace hearth::engine {
namespace {

// Tokens of a block, a power of two: larger ones multiply more, smaller ones wait more often.
constexpr std::int64_t kBlock = 64;
constexpr double kLengthEpsilon = 1e-6;

at::Tensor unit(const at::Tensor& vectors) {
  return vectors * at::rsqrt((vectors * vectors).sum(-1, true) + kLengthEpsilon);
}

// The sub-blocks below the diagonal of pairs of sub-blocks: a view [..., size, size, pairs].
at::Tensor below(const at::Tensor& blocks, std::int64_t size) {
  const std::int64_t pairs = blocks.size(-1) / (2 * size);
  return blocks.unflatten(-1, {pairs, 2 * size})
      .unflatten(-3, {pairs, 2 * size})
      .diagonal(0, -4, -2)
      .narrow(-3, size, size)
      .narrow(-2, 0, size);
}

// (1 + lower)⁻¹ of matrices that are zero on and above the diagonal, by halves: of a matrix whose
// diagonal blocks are inverted, A and D, the block B below is -D B A. [..., block, block]
at::Tensor inverse_of_unit(const at::Tensor& lower) {
  const std::int64_t block = lower.size(-1);
  at::Tensor inverse = at::eye(block, lower.options()).expand_as(lower).contiguous();
  for (std::int64_t size = 1; size < block; size *= 2) {
    const auto last = [](const at::Tensor& view) { return view.movedim(-1, -3); };
    const std::int64_t pairs = block / (2 * size);
    const at::Tensor diagonal = inverse.unflatten(-1, {pairs, 2 * size})
                                    .unflatten(-3, {pairs, 2 * size})
                                    .diagonal(0, -4, -2);
    const at::Tensor before = last(diagonal.narrow(-3, 0, size).narrow(-2, 0, size));
    const at::Tensor after = last(diagonal.narrow(-3, size, size).narrow(-2, size, size));
    const at::Tensor product = at::matmul(at::matmul(after, last(below(lower, size))), before);
    last(below(inverse, size)).copy_(product.neg());
  }
  return inverse;
}

}  // namespace

// What does not depend on the state. Padded rows are zeros, which change nothing.
struct DeltaRules::Blocks {
  std::int64_t count = 0, size = 0;
  at::Tensor changes;    // [..., block, value_dim]: U, what would be added to an empty state
  at::Tensor recalled;   // [..., block, key_dim]: W, by what the state takes from that
  at::Tensor queries;    // [..., block, key_dim], times the decay since the block began
  at::Tensor attention;  // [..., block, block]: of a query to the changes up to it
  at::Tensor keys;       // [..., block, key_dim], times the decay until the block ends
  at::Tensor decay;      // [..., 1, 1], of a whole block
};

std::uint64_t DeltaRules::scratch_bytes(const decoder::DeltaRule& delta, std::int64_t rows) {
  const std::int64_t wide =
      std::int64_t{delta.value_heads} * std::max(delta.key_dim, delta.value_dim);
  // The convolution's input, sum and terms; by head what Blocks has and what it is made of.
  const std::int64_t convolved = 4 * std::int64_t{delta.channels()};
  const std::int64_t by_head = 14 * wide + 8 * kBlock * delta.value_heads;
  return static_cast<std::uint64_t>((rows + kBlock) * std::max(convolved, by_head)) * sizeof(float);
}

at::Tensor DeltaRules::floats(const float* data, at::IntArrayRef shape) const {
  return view_at(data, shape, compute_.options().dtype(at::kFloat));
}

void DeltaRules::convolve(const DeltaChunk& chunk, const decoder::DeltaRuleWeights& weights) const {
  const std::int64_t channels = delta_->channels(), past = delta_->taps - 1;
  const at::TensorOptions options = compute_.options();
  at::Tensor rows = view_at(chunk.qkv, {chunk.rows, channels}, {chunk.qkv_stride, 1}, options);
  at::Tensor window = floats(chunk.window, {past, channels});
  const at::Tensor inputs = at::cat({window, rows.to(at::kFloat)});
  const at::Tensor taps =
      view_at(weights.convolution, {channels, delta_->taps}, options).to(at::kFloat);
  at::Tensor sum = inputs.narrow(0, 0, chunk.rows) * taps.select(1, 0);
  for (std::int64_t tap = 1; tap <= past; ++tap)
    sum.addcmul_(inputs.narrow(0, tap, chunk.rows), taps.select(1, tap));
  rows.copy_(at::silu_(sum));
  window.copy_(inputs.narrow(0, chunk.rows, past));
}

// [heads, rows, width] of columns of the chunk, in fp32.
at::Tensor DeltaRules::heads(const DeltaChunk& chunk, std::int64_t column, std::int64_t count,
                             std::int64_t width) const {
  const auto item = static_cast<std::int64_t>(compute_.options().dtype().itemsize());
  return view_at(static_cast<const std::byte*>(chunk.qkv) + column * item,
                 {count, chunk.rows, width}, {width, chunk.qkv_stride, 1}, compute_.options())
      .to(at::kFloat);
}

// [heads, rows, width] -> [heads, blocks, block, width], with zeros behind.
at::Tensor DeltaRules::in_blocks(const at::Tensor& rows, std::int64_t blocks,
                                 std::int64_t block) const {
  const std::int64_t missing = blocks * block - rows.size(1);
  const at::Tensor whole = missing == 0 ? rows : at::constant_pad_nd(rows, {0, 0, 0, missing}, 0.0);
  return whole.unflatten(1, {blocks, block});
}

DeltaRules::Blocks DeltaRules::cut(const DeltaChunk& chunk,
                                   const decoder::DeltaRuleWeights& weights) const {
  const std::int64_t key_heads = delta_->key_heads, value_heads = delta_->value_heads;
  const std::int64_t key_dim = delta_->key_dim, value_dim = delta_->value_dim;
  const std::int64_t shared = value_heads / key_heads;
  Blocks made;
  made.size = std::min<std::int64_t>(
      kBlock, static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(chunk.rows))));
  made.count = (chunk.rows + made.size - 1) / made.size;
  const auto blocks = [&](const at::Tensor& rows) {
    return in_blocks(rows, made.count, made.size);
  };
  const double scale = 1.0 / std::sqrt(static_cast<double>(key_dim));
  // A key head serves `shared` value heads: [key_heads, 1, blocks, block, _].
  const at::Tensor queries =
      (blocks(unit(heads(chunk, 0, key_heads, key_dim))) * scale).unsqueeze(1);
  const at::Tensor keys =
      blocks(unit(heads(chunk, key_heads * key_dim, key_heads, key_dim))).unsqueeze(1);
  const at::Tensor values = blocks(heads(chunk, 2 * key_heads * key_dim, value_heads, value_dim))
                                .unflatten(0, {key_heads, shared});
  // [key_heads, shared, blocks, block, 1]
  const at::Tensor gates = view_at(chunk.gates, {2, value_heads, chunk.rows, 1},
                                   {value_heads, 1, chunk.gates_stride, 1}, compute_.options())
                               .to(at::kFloat);
  const at::Tensor decays = at::softplus(gates[1] + floats(weights.dt_bias, {value_heads, 1, 1})) *
                            floats(weights.a_log, {value_heads, 1, 1}).exp().neg();
  const at::Tensor beta = blocks(at::sigmoid(gates[0])).unflatten(0, {key_heads, shared});
  const at::Tensor since = blocks(decays).unflatten(0, {key_heads, shared}).cumsum(-2);
  const at::Tensor last = since.narrow(-2, made.size - 1, 1);
  // From token j to token i of a block; above the diagonal nothing.
  const at::Tensor between = (since - since.transpose(-1, -2)).tril().exp().tril();
  const at::Tensor weighted = keys * beta;
  const at::Tensor inverse =
      inverse_of_unit((at::matmul(keys, keys.transpose(-1, -2)) * beta * between).tril(-1));
  made.changes = at::matmul(inverse, values * beta);
  made.recalled = at::matmul(inverse, weighted * since.exp());
  made.queries = queries * since.exp();
  made.attention = at::matmul(queries, keys.transpose(-1, -2)) * between;
  made.keys = keys * (last - since).exp();
  made.decay = last.exp();
  return made;
}

void DeltaRules::run(const DeltaChunk& chunk, const decoder::DeltaRuleWeights& weights) const {
  const std::int64_t value_heads = delta_->value_heads, value_dim = delta_->value_dim;
  const std::int64_t shared = value_heads / delta_->key_heads;
  const Blocks blocks = cut(chunk, weights);
  at::Tensor kept = floats(chunk.state, {delta_->key_heads, shared, delta_->key_dim, value_dim});
  at::Tensor state = kept;
  std::vector<at::Tensor> outputs;
  for (std::int64_t i = 0; i < blocks.count; ++i) {
    const auto of = [&](const at::Tensor& all) { return all.select(2, i); };
    const at::Tensor changes = of(blocks.changes) - at::matmul(of(blocks.recalled), state);
    outputs.push_back(at::matmul(of(blocks.queries), state) +
                      at::matmul(of(blocks.attention), changes));
    state = state * of(blocks.decay) + at::matmul(of(blocks.keys).transpose(-1, -2), changes);
  }
  kept.copy_(state);
  // [value_heads, rows, value_dim]
  const at::Tensor read = at::cat(outputs, 2).flatten(0, 1).narrow(1, 0, chunk.rows);
  const at::Tensor normed = read * at::rsqrt((read * read).mean(-1, true) + norm_epsilon_) *
                            floats(weights.norm, {value_dim});
  const at::Tensor gate = heads(chunk, delta_->channels(), value_heads, value_dim);
  view_at(chunk.output, {value_heads, chunk.rows, value_dim}, {value_dim, chunk.output_stride, 1},
          compute_.options())
      .copy_(normed * at::silu(gate));
}

}  // namespace hearth::engine
