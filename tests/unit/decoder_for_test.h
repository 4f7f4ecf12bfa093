// A small decoder with random weights, held in whatever format a test asks for.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "models/decoder/description.h"
#include "models/decoder/step.h"
#include "models/decoder/weights.h"
#include "models/kernels/bfloat16.h"

namespace hearth::decoder {

struct Shape {
  std::int32_t hidden = 64;
  std::int32_t vocabulary = 300;
  std::int32_t layers = 3;
  std::int32_t heads = 4;
  std::int32_t kv_heads = 2;
  std::int32_t head_dim = 16;
  std::int32_t intermediate = 96;
  bool biased = false;
};

inline Description description_of(const Shape& shape) {
  Description description;
  description.hidden_size = shape.hidden;
  description.vocabulary_size = shape.vocabulary;
  description.context_tokens = 4096;
  description.rope.sections = {4, 2, 2};
  LayerDescription layer;
  layer.heads = shape.heads;
  layer.kv_heads = shape.kv_heads;
  layer.head_dim = shape.head_dim;
  layer.intermediate_size = shape.intermediate;
  layer.qk_norm = true;
  description.layers.assign(static_cast<std::size_t>(shape.layers), layer);
  return description;
}

class TinyDecoder {
 public:
  TinyDecoder(const Shape& shape, HearthType type, HearthFormat format, unsigned seed = 1)
      : description(description_of(shape)), random_(seed), type_(type), format_(format) {
    weights.type = type;
    weights.embedding = values(std::int64_t{shape.vocabulary} * shape.hidden, 1.0F);
    weights.final_norm = norm(shape.hidden);
    weights.head = linear(shape.vocabulary, shape.hidden, false);
    const LayerDescription& layer = description.layers.front();
    for (std::int32_t i = 0; i < shape.layers; ++i) {
      LayerWeights made;
      made.attention_norm = norm(shape.hidden);
      made.qkv =
          linear(std::int64_t{layer.qkv_heads()} * shape.head_dim, shape.hidden, shape.biased);
      made.q_norm = norm(shape.head_dim);
      made.k_norm = norm(shape.head_dim);
      made.output = linear(shape.hidden, std::int64_t{shape.heads} * shape.head_dim, false);
      made.mlp_norm = norm(shape.hidden);
      made.gate_up = linear(std::int64_t{2} * shape.intermediate, shape.hidden, false);
      made.down = linear(shape.hidden, shape.intermediate, false);
      weights.layers.push_back(made);
    }
  }

  // A NaN in the last norm makes all logits NaN.
  void spoil() { const_cast<float*>(weights.final_norm)[0] = std::nanf(""); }

  Description description;
  Weights weights;

 private:
  void* keep(std::size_t bytes) {
    constexpr std::size_t kAlignment = 64;
    blocks_.emplace_back(
        static_cast<std::byte*>(::operator new(bytes + kAlignment, std::align_val_t(kAlignment))));
    return blocks_.back().get();
  }

  const float* norm(std::int64_t size) {
    auto* numbers = static_cast<float*>(keep(static_cast<std::size_t>(size) * sizeof(float)));
    std::uniform_real_distribution<float> around(0.8F, 1.2F);
    for (std::int64_t i = 0; i < size; ++i) numbers[i] = around(random_);
    return numbers;
  }

  // In the arithmetic type.
  const void* values(std::int64_t count, float deviation) {
    std::normal_distribution<float> normal(0.0F, deviation);
    if (type_ == HEARTH_F32) {
      auto* numbers = static_cast<float*>(keep(static_cast<std::size_t>(count) * sizeof(float)));
      for (std::int64_t i = 0; i < count; ++i) numbers[i] = normal(random_);
      return numbers;
    }
    auto* numbers = static_cast<kernels::BFloat16*>(keep(static_cast<std::size_t>(count) * 2));
    for (std::int64_t i = 0; i < count; ++i) numbers[i] = kernels::to_bfloat16(normal(random_));
    return numbers;
  }

  Linear linear(std::int64_t out, std::int64_t in, bool biased) {
    const float deviation = 1.0F / std::sqrt(static_cast<float>(in));
    const void* source = values(out * in, deviation);
    Linear made;
    made.matrix = {format_, out, in, keep(hearth_matrix_bytes(format_, out, in)),
                   keep(hearth_scale_bytes(format_, out, in))};
    EXPECT_EQ(hearth_pack_begin(&made.matrix), HEARTH_OK);
    const HearthPack pack{made.matrix, type_, source, out, 0, 1};
    EXPECT_EQ(hearth_pack(&pack), HEARTH_OK);
    if (biased) made.bias = values(out, 0.1F);
    return made;
  }

  struct Free {
    void operator()(std::byte* block) const { ::operator delete(block, std::align_val_t(64)); }
  };

  std::mt19937 random_;
  HearthType type_;
  HearthFormat format_;
  std::vector<std::unique_ptr<std::byte, Free>> blocks_;
};

}  // namespace hearth::decoder
