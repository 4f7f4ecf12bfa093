// The gated delta rule over many tokens of one sequence at once.
//
// Tokens are taken in blocks: what a block's tokens change of the state is found by matrix
// products, from block to block the state goes on. That is the same function as HearthConvStep and
// HearthDeltaStep token by token, however a prompt is cut into chunks; sums are in another order.
// Source of the form: Yang et al., "Parallelizing Linear Transformers with the Delta Rule over
// Sequence Length" and "Gated Delta Networks"; docs/families.md has the formulas.
//
// Engine thread only, inside c10::InferenceMode and OnStream. Throws what ATen throws.
#pragma once

#include <cstdint>

#include "models/decoder/description.h"
#include "models/decoder/weights.h"
#include "models/torch/compute.h"

namespace hearth::engine {

// All on the Compute's device.
struct DeltaChunk {
  std::int64_t rows = 0;
  void* qkv = nullptr;  // [rows, channels + values]: q, k, v, then z
  std::int64_t qkv_stride = 0;
  const void* gates = nullptr;  // [rows, 2 value_heads]: b, then a
  std::int64_t gates_stride = 0;
  float* window = nullptr;  // [taps - 1, channels], of the slot; moved on
  float* state = nullptr;   // [value_heads, key_dim, value_dim], likewise
  void* output = nullptr;   // [rows, values]
  std::int64_t output_stride = 0;
};

class DeltaRules {
 public:
  // Borrows the description. `delta` null: nothing may be run.
  DeltaRules(const Compute& compute, const decoder::DeltaRule* delta, double norm_epsilon)
      : compute_(compute), delta_(delta), norm_epsilon_(norm_epsilon) {}

  // q, k and v in place: silu of the convolution.
  void convolve(const DeltaChunk& chunk, const decoder::DeltaRuleWeights& weights) const;
  // The output, normed and gated, of what is convolved.
  void run(const DeltaChunk& chunk, const decoder::DeltaRuleWeights& weights) const;

  // Memory that a chunk takes, at most.
  static std::uint64_t scratch_bytes(const decoder::DeltaRule& delta, std::int64_t rows);

 private:
  // fp32, by value head and block: [key_heads, values of a key, blocks, block, …]
  struct Blocks;
  Blocks cut(const DeltaChunk& chunk, const decoder::DeltaRuleWeights& weights) const;
  at::Tensor heads(const DeltaChunk& chunk, std::int64_t column, std::int64_t count,
                   std::int64_t width) const;
  at::Tensor in_blocks(const at::Tensor& rows, std::int64_t blocks, std::int64_t block) const;
  at::Tensor floats(const float* data, at::IntArrayRef shape) const;

  const Compute compute_;
  const decoder::DeltaRule* const delta_;
  const double norm_epsilon_;
};

}  // namespace hearth::engine
