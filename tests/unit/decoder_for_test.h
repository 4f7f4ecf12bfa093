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
#include "models/kernels/matrices.h"

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
  std::int32_t experts = 0;  // of all layers but the first
  std::int32_t chosen = 2;
  std::int32_t expert_intermediate = 24;
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
  for (std::size_t i = 1; i < description.layers.size() && shape.experts > 0; ++i) {
    description.layers[i].mlp = MlpKind::kExperts;
    description.layers[i].experts.count = shape.experts;
    description.layers[i].experts.chosen = shape.chosen;
    description.layers[i].experts.intermediate_size = shape.expert_intermediate;
  }
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
      if (i > 0 && shape.experts > 0) {
        made.experts = experts(shape);
      } else {
        made.gate_up = linear(std::int64_t{2} * shape.intermediate, shape.hidden, false);
        made.down = linear(shape.hidden, shape.intermediate, false);
      }
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

  void fill(const HearthMatrix& matrix) {
    const std::int64_t out = matrix.out_features, in = matrix.in_features;
    const void* source = values(out * in, 1.0F / std::sqrt(static_cast<float>(in)));
    EXPECT_EQ(hearth_pack_begin(&matrix), HEARTH_OK);
    const HearthPack pack{matrix, type_, source, out, 0, 1};
    EXPECT_EQ(hearth_pack(&pack), HEARTH_OK);
  }

  // Of each the data, then the scales.
  HearthMatrices matrices(std::int64_t count, std::int64_t out, std::int64_t in) {
    constexpr std::size_t kBorder = 64;
    const auto rounded = [](std::size_t bytes) {
      return (bytes + kBorder - 1) / kBorder * kBorder;
    };
    const std::size_t bytes = rounded(hearth_matrix_bytes(format_, out, in));
    const std::size_t scale_bytes = rounded(hearth_scale_bytes(format_, out, in));
    auto* block =
        static_cast<std::byte*>(keep(static_cast<std::size_t>(count) * (bytes + scale_bytes)));
    const HearthMatrices made{{format_, out, in, block, scale_bytes > 0 ? block + bytes : nullptr},
                              count,
                              static_cast<std::int64_t>(bytes + scale_bytes)};
    for (std::int64_t i = 0; i < count; ++i) fill(kernels::matrix_at(made, i));
    return made;
  }

  Experts experts(const Shape& shape) {
    Experts made;
    const HearthFormat format = format_;
    format_ = type_ == HEARTH_F32 ? HEARTH_FORMAT_F32 : HEARTH_FORMAT_BF16;
    made.router = linear(shape.experts, shape.hidden, false);
    format_ = format;
    made.gate_up =
        matrices(shape.experts, std::int64_t{2} * shape.expert_intermediate, shape.hidden);
    made.down = matrices(shape.experts, shape.hidden, shape.expert_intermediate);
    made.chosen = shape.chosen;
    return made;
  }

  Linear linear(std::int64_t out, std::int64_t in, bool biased) {
    Linear made;
    made.matrix = {format_, out, in, keep(hearth_matrix_bytes(format_, out, in)),
                   keep(hearth_scale_bytes(format_, out, in))};
    fill(made.matrix);
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
