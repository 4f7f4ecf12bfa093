// A decoder's weights as the kernels see them: pointers, types and shapes.
//
// Borrowed: whoever loaded the weights keeps the memory alive longer than these structs. Linears
// that read the same input are stored under each other, so that a step reads them in one pass.
#pragma once

#include <cstdint>
#include <vector>

#include "shm/tensor.h"

namespace hearth::decoder {

struct WeightView {
  const void* data = nullptr;  // on the model's device, dense, 64-byte aligned; null: absent
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  int device = -1;  // CUDA device index; -1: host memory

  explicit operator bool() const { return data != nullptr; }
};

struct Linear {
  WeightView weight;  // [out_features, in_features]
  WeightView bias;    // [out_features], or absent
  WeightView scales;  // of quantised weights; absent: none
};

struct LayerWeights {
  WeightView attention_norm;  // [hidden], f32
  Linear qkv;                 // queries, keys, values: [(heads + 2 kv_heads) head_dim, hidden]
  WeightView qk_norm;         // [heads + kv_heads, head_dim], f32, or absent
  Linear output;              // [hidden, heads head_dim]
  WeightView mlp_norm;        // [hidden], f32
  Linear gate_up;             // gate, then up: [2 intermediate, hidden]
  Linear down;                // [hidden, intermediate]
};

struct Weights {
  WeightView embedding;  // [vocabulary, hidden]
  std::vector<LayerWeights> layers;
  WeightView final_norm;  // [hidden], f32
  Linear head;            // [vocabulary, hidden]; the embedding's memory when tied
};

}  // namespace hearth::decoder
