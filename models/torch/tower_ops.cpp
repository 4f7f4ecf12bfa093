#include "models/torch/tower_ops.h"

#include <cmath>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "models/torch/tensors.h"

namespace hearth::engine {
namespace {

using decoder::check_status;

constexpr float kNormEpsilon = 1e-6F;
constexpr std::int64_t kAxes = 3;
constexpr std::uint8_t kRowAxis = 1, kColumnAxis = 2;

}  // namespace

TowerOps::TowerOps(const Compute& compute, const TowerHeads& heads)
    : compute_(compute), heads_(heads), linears_(compute_), attention_(compute_) {
  const std::int64_t half = heads.head_dim / 2;
  for (const std::uint8_t axis : {kRowAxis, kColumnAxis})
    for (std::int64_t i = 0; i < half; i += 2) {
      const float exponent = static_cast<float>(i) / static_cast<float>(half);
      frequencies_.push_back(1.0F / static_cast<float>(std::pow(heads.rope_theta, exponent)));
      axes_.push_back(axis);
    }
}

Result<void> TowerOps::run(const TowerProduct& product) {
  const TowerNorm& norm = product.norm;
  CHECK_OK(await({product.linear.matrix.data, product.linear.bias, norm.weight, norm.bias}));
  return linears_.run({.weight = product.linear.matrix,
                       .output_type = compute_.type,
                       .epilogue = product.epilogue,
                       .activation = product.activation,
                       .rows = product.input.size(0),
                       .input = product.input.const_data_ptr(),
                       .input_stride = product.input.size(1),
                       .norm = norm.kind,
                       .norm_weight = norm.weight,
                       .norm_bias = norm.bias,
                       .norm_epsilon = kNormEpsilon,
                       .bias = product.linear.bias,
                       .output = product.output.mutable_data_ptr(),
                       .output_stride = product.output.size(1)});
}

Result<PatchAngles> TowerOps::angles(std::span<const std::int32_t> positions) const {
  const auto patches = static_cast<std::int64_t>(positions.size()) / kAxes;
  const std::int64_t half = heads_.head_dim / 2;
  const at::Tensor places = placed(positions, {kAxes, patches}, at::kInt);
  const at::Tensor frequencies = placed<float>(frequencies_, {half}, at::kFloat);
  const at::Tensor axes = placed<std::uint8_t>(axes_, {half}, at::kByte);
  PatchAngles made;
  made.cosines = at::empty({patches, half}, options().dtype(at::kFloat));
  made.sines = at::empty({patches, half}, options().dtype(at::kFloat));
  made.zeros = at::zeros({patches}, options().dtype(at::kInt));
  const HearthRopeAngles call{.rows = patches,
                              .half = half,
                              .position = places.const_data_ptr<std::int32_t>(),
                              .frequency = frequencies.const_data_ptr<float>(),
                              .axis = axes.const_data_ptr<std::uint8_t>(),
                              .cosines = made.cosines.mutable_data_ptr<float>(),
                              .sines = made.sines.mutable_data_ptr<float>()};
  CHECK_OK(check_status(compute_.kernels().rope_angles(&call, compute_.memory->stream()),
                        "rope_angles"));
  return made;
}

Result<void> TowerOps::rotate(const PatchAngles& angles, at::Tensor& qkv) const {
  const HearthRopeWrite call{.type = compute_.type,
                             .rows = qkv.size(0),
                             .heads = 2 * heads_.heads,
                             .qkv = qkv.mutable_data_ptr(),
                             .qkv_stride = qkv.size(1),
                             .q_norm = nullptr,
                             .k_norm = nullptr,
                             .norm_epsilon = 0.0F,
                             .cosines = angles.cosines.const_data_ptr<float>(),
                             .sines = angles.sines.const_data_ptr<float>(),
                             .slot = angles.zeros.const_data_ptr<std::int32_t>(),
                             .index = angles.zeros.const_data_ptr<std::int32_t>(),
                             .cache = {.type = compute_.type,
                                       .pages = nullptr,
                                       .table = nullptr,
                                       .table_stride = 0,
                                       .kv_heads = 0,
                                       .head_dim = heads_.head_dim}};
  return check_status(compute_.kernels().rope_write(&call, compute_.memory->stream()),
                      "rope_write");
}

Result<void> TowerOps::attend(const at::Tensor& qkv, std::span<const std::int32_t> segments,
                              at::Tensor& attended) {
  const std::int64_t width = heads_.heads * heads_.head_dim;
  const auto part = [&](std::int64_t number) {
    return qkv.narrow(1, number * width, width).const_data_ptr();
  };
  const std::int64_t patches = qkv.size(0);
  return attention_.run(
      {.rows = patches,
       .heads = heads_.heads,
       .kv_heads = heads_.heads,
       .head_dim = heads_.head_dim,
       .query = part(0),
       .query_stride = qkv.size(1),
       .length = patches,
       .keys = part(1),
       .values = part(2),
       .head_stride = heads_.head_dim,
       .token_stride = qkv.size(1),
       .first = 0,
       .segments = segments.data(),
       .segment_count = static_cast<std::int64_t>(segments.size()) - 1,
       .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(heads_.head_dim))),
       .output = attended.mutable_data_ptr(),
       .output_stride = attended.size(1)});
}

Result<void> TowerOps::await(std::initializer_list<const void*> weights) const {
  return compute_.memory->await({weights.begin(), weights.size()});
}

at::Tensor TowerOps::placed_bytes(const void* values, at::IntArrayRef shape,
                                  at::ScalarType type) const {
  return view_at(values, shape, at::TensorOptions(type)).to(options().device());
}

void TowerOps::drop_scratch() {
  linears_.drop_scratch();
  attention_.drop_scratch();
}

std::vector<Features> split_pictures(std::span<const std::int32_t> first_patches,
                                     std::int64_t patches_per_token,
                                     std::span<const at::Tensor> made) {
  std::vector<Features> features(first_patches.size() - 1);
  for (std::size_t i = 0; i < features.size(); ++i) {
    const std::int64_t first = first_patches[i] / patches_per_token;
    const std::int64_t count = first_patches[i + 1] / patches_per_token - first;
    const auto own = [&](const at::Tensor& all) {
      return features.size() == 1 ? all : all.narrow(0, first, count).clone();
    };
    for (const at::Tensor& level : made.first(made.size() - 1))
      features[i].deepstack.push_back(own(level));
    features[i].rows = own(made.back());
  }
  return features;
}

}  // namespace hearth::engine
