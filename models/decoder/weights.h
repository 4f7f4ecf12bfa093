// A decoder's weights as the kernels see them: pointers, formats and shapes.
//
// Borrowed: whoever loaded the weights keeps the memory alive longer than these structs. Linears
// that read the same input are one matrix, so that a step reads them in one pass, and everything
// lies in the order in which a step reads it.
#pragma once

#include <cstdint>
#include <vector>

#include "models/kernels/kernels.h"

namespace hearth::decoder {

struct Linear {
  HearthMatrix matrix{};
  const void* bias = nullptr;  // [out_features] in the arithmetic type, or null
};

// A layer's experts; which of them a token passes through is chosen by the router, which is never
// rounded below the arithmetic type.
struct Experts {
  Linear router{};           // [experts, hidden]; with a shared expert a last row for its gate
  HearthMatrices gate_up{};  // of each expert gate and up row by row: [2 intermediate, hidden]
  HearthMatrices down{};     // [hidden, intermediate]
  std::int64_t chosen = 0;   // for each token; 0: the layer has no experts
  bool normalised = true;    // the weights of the chosen add up to 1
  Linear shared_gate_up{};   // as gate_up and down of a layer; without data: no shared expert
  Linear shared_down{};

  bool has_shared() const { return shared_down.matrix.data != nullptr; }
};

// Of a layer of the delta rule, as HearthConvStep and HearthDeltaStep take it.
struct DeltaRuleWeights {
  Linear input{};                     // q, k, v, then z: [channels + values, hidden]
  Linear gates{};                     // b, then a: [2 value_heads, hidden], never rounded further
  const void* convolution = nullptr;  // [channels, taps] in the arithmetic type
  const float* a_log = nullptr;       // [value_heads]
  const float* dt_bias = nullptr;
  const float* norm = nullptr;  // [value_dim]

  explicit operator bool() const { return convolution != nullptr; }
};

struct LayerWeights {
  const float* attention_norm = nullptr;  // [hidden]
  // Queries, keys, values: [(heads + 2 kv_heads) head_dim, hidden]; gated: then all heads' gates.
  Linear qkv{};
  const float* q_norm = nullptr;  // [head_dim], or null
  const float* k_norm = nullptr;
  DeltaRuleWeights delta{};         // instead of queries, keys and values
  Linear output{};                  // [hidden, heads head_dim], or [hidden, value_heads value_dim]
  const float* mlp_norm = nullptr;  // [hidden]
  Linear gate_up{};                 // gate and up row by row: [2 intermediate, hidden]
  Linear down{};                    // [hidden, intermediate]
  Experts experts{};                // instead of gate_up and down
};

struct Weights {
  HearthType type = HEARTH_F32;     // arithmetic type: of activations, biases, embedding and cache
  const void* embedding = nullptr;  // [vocabulary, hidden]
  std::vector<LayerWeights> layers;
  const float* final_norm = nullptr;  // [hidden]
  Linear head;      // [vocabulary, hidden]; the embedding's memory when tied and not quantised
  int device = -1;  // CUDA device of all pointers; -1: host memory
};

}  // namespace hearth::decoder
