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

struct LayerWeights {
  const float* attention_norm = nullptr;  // [hidden]
  Linear qkv;                     // queries, keys, values: [(heads + 2 kv_heads) head_dim, hidden]
  const float* q_norm = nullptr;  // [head_dim], or null
  const float* k_norm = nullptr;
  Linear output;                    // [hidden, heads head_dim]
  const float* mlp_norm = nullptr;  // [hidden]
  Linear gate_up;                   // gate and up row by row: [2 intermediate, hidden]
  Linear down;                      // [hidden, intermediate]
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
