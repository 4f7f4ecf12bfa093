// What vision towers are made of: products, rotation of queries and keys, attention within
// segments, and what a pass gives each picture.
//
// Ownership: owns scratch memory, which grows to the largest use; borrows the Compute's memory and
// all weights. Engine thread only, inside c10::InferenceMode and OnStream. Throws what ATen throws.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/decoder/weights.h"
#include "models/torch/attention.h"
#include "models/torch/compute.h"
#include "models/torch/features.h"
#include "models/torch/linear.h"

namespace hearth::engine {

struct TowerNorm {
  HearthNorm kind = HEARTH_NO_NORM;
  const float* weight = nullptr;
  const float* bias = nullptr;  // LAYER_NORM only
};

// What one product takes: output = or += activation(norm(input) weightᵀ + bias).
struct TowerProduct {
  const decoder::Linear& linear;
  const at::Tensor& input;  // [rows, in_features], dense
  at::Tensor& output;       // [rows, out_features], dense; SWIGLU: half as wide
  HearthActivation activation = HEARTH_NO_ACTIVATION;
  HearthEpilogue epilogue = HEARTH_STORE;
  TowerNorm norm = {};
};

struct TowerHeads {
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  double rope_theta = 10'000.0;
};

// Cosines and sines of all patches. [patches, head_dim / 2], f32
struct PatchAngles {
  at::Tensor cosines, sines;
  at::Tensor zeros;  // [patches], i32: the kernel's slots and indices, of which it has no use
};

class TowerOps {
 public:
  TowerOps(const Compute& compute, const TowerHeads& heads);

  // Epsilon of all norms: 1e-6.
  Result<void> run(const TowerProduct& product);

  // Half of a half-head turns with the row, half with the column.
  // positions: [3, patches], of each patch 0, row and column.
  Result<PatchAngles> angles(std::span<const std::int32_t> positions) const;
  // Queries and keys of qkv [patches, 3 heads head_dim], in place.
  Result<void> rotate(const PatchAngles& angles, at::Tensor& qkv) const;
  // Every patch sees all of its segment. segments: [segments + 1], first patch of each, then their
  // number. attended: [patches, heads head_dim]
  Result<void> attend(const at::Tensor& qkv, std::span<const std::int32_t> segments,
                      at::Tensor& attended);

  // The launches that follow read these weights.
  Result<void> await(std::initializer_list<const void*> weights) const;
  // A copy on the device, or on the host a view.
  template <class T>
  at::Tensor placed(std::span<const T> values, at::IntArrayRef shape, at::ScalarType type) const {
    return placed_bytes(values.data(), shape, type);
  }

  at::TensorOptions options() const { return compute_.options(); }
  const Compute& compute() const { return compute_; }
  void drop_scratch();

 private:
  at::Tensor placed_bytes(const void* values, at::IntArrayRef shape, at::ScalarType type) const;

  const Compute compute_;
  const TowerHeads heads_;
  std::vector<float> frequencies_;  // [head_dim / 2]
  std::vector<std::uint8_t> axes_;  // [head_dim / 2]
  Linears linears_;
  Attention attention_;
};

// Each picture's part of what a pass has made of all of them, in memory of its own: a cache may
// keep one and drop another. first_patches: [pictures + 1], first patch of each, then their number.
// made: DeepStack levels, then the rows. [tokens, _] each
std::vector<Features> split_pictures(std::span<const std::int32_t> first_patches,
                                     std::int64_t patches_per_token,
                                     std::span<const at::Tensor> made);

}  // namespace hearth::engine
