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
  Linear router{};           // [experts, hidden]
  HearthMatrices gate_up{};  // of each expert gate and up row by row: [2 intermediate, hidden]
  HearthMatrices down{};     // [hidden, intermediate]
  std::int64_t chosen = 0;   // for each token; 0: the layer has no experts
  bool normalised = true;    // the weights of the chosen add up to 1
};

struct LayerWeights {
  const float* attention_norm = nullptr;  // [hidden]
  Linear qkv;                     // queries, keys, values: [(heads + 2 kv_heads) head_dim, hidden]
  const float* q_norm = nullptr;  // [head_dim], or null
  const float* k_norm = nullptr;
  Linear output;                    // [hidden, heads head_dim]
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
