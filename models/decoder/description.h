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

enum class AttentionKind { kFull };  // causal over all tokens before
enum class MlpKind {
  kSwiGlu,  // down(silu(gate(x)) * up(x))
  kExperts  // the sum of a few of many SwiGLU MLPs, which a router chooses for each token
};

// Rotary positions. Channel i is paired with i + head_dim / 2 ("rotate half").
struct Rope {
  double theta = 10'000.0;
  // M-RoPE: how many of the head_dim / 2 frequencies follow the time, height and width axes. All
  // zero: one axis.
  std::array<std::int32_t, 3> sections{};
  // true: t h w t h w …, the rest t (Qwen3-VL). false: t … t h … h w … w (Qwen2.5-VL).
  bool interleaved = true;
};

struct LinearNames {
  std::string weight;
  std::string bias;  // empty: none
};

// How files hold a layer's experts. Fused tensors stack all experts; gate comes before up.
enum class ExpertFiles {
  kSeparate,         // one tensor an expert and linear, as any linear
  kFused,            // gate_up [count, 2 intermediate, hidden], down [count, hidden, intermediate]
  kFusedTransposed,  // gate_up [count, hidden, 2 intermediate], down [count, intermediate, hidden]
};

// p = softmax(router x) over all experts; the `chosen` largest are kept and, where `normalised`,
// divided by their sum. The layer adds their experts' results times p to the residual stream.
// Source: transformers, Qwen3MoeSparseMoeBlock (modeling_qwen3_moe.py).
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
};

struct LayerDescription {
  AttentionKind attention = AttentionKind::kFull;
  std::int32_t heads = 0;
  std::int32_t kv_heads = 0;
  std::int32_t head_dim = 0;
  bool qk_norm = false;  // RMSNorm over head_dim of queries and keys, before rotation
  MlpKind mlp = MlpKind::kSwiGlu;
  std::int32_t intermediate_size = 0;  // kSwiGlu
  ExpertsDescription experts;          // kExperts

  std::string attention_norm, q_norm, k_norm, mlp_norm;
  LinearNames q, k, v, output;
  LinearNames gate, up, down;  // kSwiGlu

  std::int32_t qk_heads() const { return heads + kv_heads; }
  std::int32_t qkv_heads() const { return heads + 2 * kv_heads; }
};

struct Description {
  std::int32_t hidden_size = 0;
  std::int32_t vocabulary_size = 0;
  std::int32_t context_tokens = 0;  // the most positions the model was made for
  double norm_epsilon = 1e-6;
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
};

// Whether the numbers fit each other: at least one layer, equal head shapes in all layers, an even
// head_dim, whole groups of heads, sections that fill half a head, no more experts chosen than
// there are. Errors: bad_model naming the number; unsupported for more experts than kernels take.
Result<void> check(const Description& description);

// Every tensor the description names, with the shape it must have.
using TensorShapes = std::map<std::string, std::vector<std::int64_t>>;
TensorShapes tensors_of(const Description& description);

// Bytes that one token adds to the key and value caches of all layers.
std::uint64_t kv_bytes_per_token(const Description& description, std::size_t item_bytes);

}  // namespace hearth::decoder
