// A decoder as data: what each layer computes and what its tensors are called.
//
// A family fills this in from its configuration; plan.h turns it into the flat list of operations
// that every step runs. A new family of known kinds needs no forward pass of its own.
//
// Plain values; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "shm/base/result.h"

namespace hearth::decoder {

enum class AttentionKind {
  kFull,      // causal over all tokens before
  kDeltaRule  // a state of fixed size, moved on by each token
};
enum class MlpKind {
  kSwiGlu,  // down(silu(gate(x)) * up(x))
  kExperts  // the sum of a few of many SwiGLU MLPs, which a router chooses for each token
};

// Rotary positions of the first `rotated` channels of a head: channel i is paired with i + rotated
// / 2
// ("rotate half").
struct Rope {
  double theta = 10'000.0;
  std::int32_t rotated = 0;  // 0: the whole head
  // M-RoPE: how many of the rotated / 2 frequencies follow the time, height and width axes. All
  // zero: one axis.
  std::array<std::int32_t, 3> sections{};
  // true: t h w t h w …, the rest t (Qwen3-VL). false: t … t h … h w … w (Qwen2.5-VL).
  bool interleaved = true;
};

struct LinearNames {
  std::string weight;
  std::string bias;  // empty: none
};

// A layer of the gated delta rule: q, k, v = silu(convolution over time of input_qkv x), then the
// rule as HearthDeltaStep has it, with z, b and a from linears of their own.
// Source: transformers, Qwen3_5GatedDeltaNet (modeling_qwen3_5.py).
struct DeltaRule {
  std::int32_t key_heads = 0;
  std::int32_t value_heads = 0;  // a multiple of key_heads
  std::int32_t key_dim = 0;      // of a head
  std::int32_t value_dim = 0;
  std::int32_t taps = 0;  // of the convolution, the current token's among them

  std::string input_qkv, input_z, input_b, input_a;  // [channels, hidden], …
  std::string convolution;                           // [channels, 1, taps]
  std::string a_log, dt_bias;                        // [value_heads]
  std::string norm;                                  // [value_dim], never less one

  std::int32_t values() const { return value_heads * value_dim; }
  std::int32_t channels() const { return 2 * key_heads * key_dim + values(); }
};

// How files hold a layer's experts. Fused tensors stack all experts; gate comes before up.
enum class ExpertFiles {
  kSeparate,         // one tensor an expert and linear, as any linear
  kFused,            // gate_up [count, 2 intermediate, hidden], down [count, hidden, intermediate]
  kFusedTransposed,  // gate_up [count, hidden, 2 intermediate], down [count, intermediate, hidden]
};

// p = softmax(router x) over all experts; the `chosen` largest are kept and, where `normalised`,
// divided by their sum. The layer adds their experts' results times p to the residual stream.
// A shared expert is an MLP of all tokens: its result times sigmoid(shared_gate x) is added, too.
// Source: transformers, Qwen3MoeSparseMoeBlock (modeling_qwen3_moe.py), Qwen2MoeSparseMoeBlock.
struct ExpertsDescription {
  std::int32_t count = 0;
  std::int32_t chosen = 0;
  std::int32_t intermediate_size = 0;  // of one expert
  bool normalised = true;

  std::string router;  // [count, hidden]
  ExpertFiles files = ExpertFiles::kSeparate;
  std::string gate_up, down;  // fused
  struct Separate {
    std::string gate, up, down;
  };
  std::vector<Separate> separate;  // [count]

  std::int32_t shared_intermediate_size = 0;  // 0: no shared expert
  std::string shared_gate;                    // [1, hidden]
  Separate shared;

  bool has_shared() const { return shared_intermediate_size > 0; }
};

struct LayerDescription {
  AttentionKind attention = AttentionKind::kFull;
  // The same in all layers of a decoder, those without attention included.
  std::int32_t heads = 0;
  std::int32_t kv_heads = 0;
  std::int32_t head_dim = 0;
  bool qk_norm = false;  // RMSNorm over head_dim of queries and keys, before rotation
  // q has for each head head_dim rows of the query, then as many of a gate: what is attended is
  // multiplied by sigmoid(gate).
  bool gated = false;
  DeltaRule delta;  // kDeltaRule
  MlpKind mlp = MlpKind::kSwiGlu;
  std::int32_t intermediate_size = 0;  // kSwiGlu
  ExpertsDescription experts;          // kExperts

  std::string attention_norm, q_norm, k_norm, mlp_norm;
  LinearNames q, k, v;  // kFull
  LinearNames output;
  LinearNames gate, up, down;  // kSwiGlu

  std::int32_t qk_heads() const { return heads + kv_heads; }
  std::int32_t qkv_heads() const { return heads + 2 * kv_heads; }
  bool is_recurrent() const { return attention == AttentionKind::kDeltaRule; }
};

struct Description {
  std::int32_t hidden_size = 0;
  std::int32_t vocabulary_size = 0;
  std::int32_t context_tokens = 0;  // the most positions the model was made for
  double norm_epsilon = 1e-6;
  bool norms_less_one = false;  // all norms but a delta rule's own are stored as weight - 1
  Rope rope;
  std::int32_t deepstack_layers = 0;  // picture features are added after layers 0 … n-1

  std::string embedding;
  std::string final_norm;
  LinearNames head;  // empty weight: the embedding is the head (tied)
  // The files hold no head, and none is tied: hidden states are all it can give. The embedding then
  // stands where a head must, and nobody reads what it makes.
  bool encoder_only = false;
  std::vector<LayerDescription> layers;

  bool tied_head() const { return head.weight.empty(); }
  std::int32_t rotated() const { return rope.rotated > 0 ? rope.rotated : layers.front().head_dim; }
  std::int32_t attention_layers() const;
  std::int32_t recurrent_layers() const;
  // Of the layers that have one; null when none has.
  const DeltaRule* delta_rule() const;
};

// Whether the numbers fit each other: at least one layer with attention, equal head shapes and
// delta rules in all layers, an even head_dim, whole groups of heads, sections that fill half of
// what is rotated, no more experts chosen than there are. Errors: bad_model naming the number;
// unsupported for more than kernels take.
Result<void> check(const Description& description);

// Every tensor the description names, with the shape it must have.
using TensorShapes = std::map<std::string, std::vector<std::int64_t>>;
TensorShapes tensors_of(const Description& description);

// Bytes that one token adds to the key and value caches of all layers with attention.
std::uint64_t kv_bytes_per_token(const Description& description, std::size_t item_bytes);

}  // namespace hearth::decoder
