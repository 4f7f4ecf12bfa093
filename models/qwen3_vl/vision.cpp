// Source: transformers 5.23, Qwen3VLVisionModel (modeling_qwen3_vl.py).

#include "models/qwen3_vl/vision.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/_embedding_bag_forward_only.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/zeros.h>

#include "models/kernels/formats.h"
#include "models/qwen3_vl/patch_places.h"
#include "models/torch/attention.h"
#include "models/torch/features.h"
#include "models/torch/linear.h"
#include "models/torch/patch_cutter.h"
#include "models/torch/tensors.h"

namespace hearth::qwen3_vl {
namespace {

using decoder::check_status;
using decoder::Linear;

constexpr float kNormEpsilon = 1e-6F;

// Rows of an MLP that are computed together: what is between its two products stays in a cache.
constexpr std::int64_t kMlpRows = 1024;

// A copy on the device, or on the host a view.
template <class T>
at::Tensor placed(const std::vector<T>& values, at::IntArrayRef shape, at::TensorOptions options) {
  return engine::view_at(values.data(), shape, options.device(at::kCPU)).to(options.device());
}

// What one product takes besides its weights.
struct Product {
  const Linear& linear;
  const at::Tensor& input;  // [rows, in_features], dense
  at::Tensor& output;       // [rows, out_features], dense
  HearthActivation activation = HEARTH_NO_ACTIVATION;
  HearthEpilogue epilogue = HEARTH_STORE;
  const VisionNorm* norm = nullptr;
};

// The activations of a pass, all pictures under each other.
struct Pass {
  PatchPlaces places;
  at::Tensor x;               // [patches, hidden]: the residual stream
  at::Tensor qkv;             // [patches, 3 hidden]
  at::Tensor attended;        // [patches, hidden]
  at::Tensor between;         // [kMlpRows at most, intermediate]
  at::Tensor cosines, sines;  // [patches, head_dim / 2], f32
  at::Tensor zeros;           // [patches], i32
};

class VisionTower : public engine::Tower {
 public:
  VisionTower(const VisionConfig& config, VisionWeights weights, const engine::Compute& compute,
              const image::PictureRules& rules)
      : config_(config),
        weights_(std::move(weights)),
        compute_(compute),
        cutter_(compute_, rules),
        rope_(patch_rope(config)),
        linears_(compute_),
        attention_(compute_) {}

  Result<std::vector<engine::Features>> encode(
      models::OnEngine, std::span<const image::Still* const> pictures) override {
    const engine::OnStream stream(compute_);
    Pass pass;
    CHECK_OK(begin(pictures, pass));
    const auto& levels = config_.deepstack_layers;
    std::vector<at::Tensor> made(levels.size() + 1);  // of all pictures; the last are their rows
    for (std::size_t i = 0; i < weights_.blocks.size(); ++i) {
      CHECK_OK(run_block(weights_.blocks[i], pass));
      const auto level = std::find(levels.begin(), levels.end(), static_cast<std::int64_t>(i));
      if (level == levels.end()) continue;
      const auto number = static_cast<std::size_t>(level - levels.begin());
      TRY(made[number], merge(weights_.deepstack[number], joined(pass.x), true));
    }
    CHECK_OK(await({weights_.merger.norm.weight, weights_.merger.norm.bias}));
    TRY(made.back(), merge(weights_.merger, joined(normed(pass.x)), false));
    return split(pass.places, made);
  }

  image::Still smallest_picture() const override {
    image::Still picture;
    picture.grid_height = picture.grid_width = config_.merge_size;
    picture.picture.size = {1, 1};  // so that it is resized, too
    picture.picture.pixels.assign(3, 0);
    return picture;
  }

  void drop_scratch() override {
    linears_.drop_scratch();
    attention_.drop_scratch();
  }

 private:
  at::TensorOptions options() const { return compute_.options(); }

  Result<void> begin(std::span<const image::Still* const> pictures, Pass& pass) {
    pass.places = place_patches(config_, pictures);
    const std::int64_t patches = pass.places.patches();
    const std::int64_t hidden = config_.hidden_size;
    pass.qkv = at::empty({patches, 3 * hidden}, options());
    pass.attended = at::empty({patches, hidden}, options());
    pass.between = at::empty({std::min(patches, kMlpRows), config_.intermediate_size}, options());
    pass.zeros = at::zeros({patches}, options().dtype(at::kInt));
    CHECK_OK(find_angles(pass));
    CHECK_OK(await({weights_.positions}));
    // The product with the patches is added to the learned positions.
    pass.x = interpolated_positions(pass.places);
    TRY(const at::Tensor rows, cutter_.cut(pictures, patches));
    return run(
        {.linear = weights_.patch_embed, .input = rows, .output = pass.x, .epilogue = HEARTH_ADD});
  }

  // Bilinear between the four nearest learned positions, in fp32. [patches, hidden]
  at::Tensor interpolated_positions(const PatchPlaces& places) const {
    const at::TensorOptions fp32 = options().dtype(at::kFloat);
    const at::TensorOptions integers = options().dtype(at::kLong);
    const std::int64_t patches = places.patches();
    const at::Tensor table =
        engine::view_at(weights_.positions, {config_.position_rows, config_.hidden_size}, fp32);
    constexpr std::int64_t kCorners = 4, kSum = 0;
    const at::Tensor corners = placed(places.corners, {kCorners * patches}, integers);
    const at::Tensor weights = placed(places.weights, {kCorners * patches}, fp32);
    const at::Tensor firsts = at::arange(0, kCorners * patches, kCorners, integers);
    return std::get<0>(
               at::_embedding_bag_forward_only(table, corners, firsts, false, kSum, false, weights))
        .to(options().dtype());
  }

  Result<void> find_angles(Pass& pass) const {
    const std::int64_t patches = pass.places.patches();
    const std::int64_t half = config_.head_dim() / 2;
    const at::TensorOptions fp32 = options().dtype(at::kFloat);
    const at::Tensor positions =
        placed(pass.places.positions, {3, patches}, options().dtype(at::kInt));
    const at::Tensor frequencies = placed(rope_.frequencies, {half}, fp32);
    const at::Tensor axes = placed(rope_.axes, {half}, options().dtype(at::kByte));
    pass.cosines = at::empty({patches, half}, fp32);
    pass.sines = at::empty({patches, half}, fp32);
    const HearthRopeAngles call{.rows = patches,
                                .half = half,
                                .position = positions.const_data_ptr<std::int32_t>(),
                                .frequency = frequencies.const_data_ptr<float>(),
                                .axis = axes.const_data_ptr<std::uint8_t>(),
                                .cosines = pass.cosines.mutable_data_ptr<float>(),
                                .sines = pass.sines.mutable_data_ptr<float>()};
    return check_status(compute_.kernels().rope_angles(&call, compute_.memory->stream()),
                        "rope_angles");
  }

  Result<void> run_block(const VisionBlock& block, Pass& pass) {
    CHECK_OK(run({.linear = block.qkv, .input = pass.x, .output = pass.qkv, .norm = &block.norm1}));
    CHECK_OK(rotate(pass));
    CHECK_OK(attend(pass));
    CHECK_OK(run(
        {.linear = block.proj, .input = pass.attended, .output = pass.x, .epilogue = HEARTH_ADD}));
    for (std::int64_t first = 0; first < pass.x.size(0); first += kMlpRows) {
      const std::int64_t rows = std::min(kMlpRows, pass.x.size(0) - first);
      at::Tensor part = pass.x.narrow(0, first, rows);
      at::Tensor between = pass.between.narrow(0, 0, rows);
      CHECK_OK(run({.linear = block.fc1,
                    .input = part,
                    .output = between,
                    .activation = HEARTH_GELU_TANH,
                    .norm = &block.norm2}));
      CHECK_OK(
          run({.linear = block.fc2, .input = between, .output = part, .epilogue = HEARTH_ADD}));
    }
    return {};
  }

  // Queries and keys, in place.
  Result<void> rotate(Pass& pass) const {
    const HearthRopeWrite call{.type = compute_.type,
                               .rows = pass.qkv.size(0),
                               .heads = 2 * std::int64_t{config_.heads},
                               .qkv = pass.qkv.mutable_data_ptr(),
                               .qkv_stride = pass.qkv.size(1),
                               .q_norm = nullptr,
                               .k_norm = nullptr,
                               .norm_epsilon = 0.0F,
                               .cosines = pass.cosines.const_data_ptr<float>(),
                               .sines = pass.sines.const_data_ptr<float>(),
                               .slot = pass.zeros.const_data_ptr<std::int32_t>(),
                               .index = pass.zeros.const_data_ptr<std::int32_t>(),
                               .cache = {.type = compute_.type,
                                         .pages = nullptr,
                                         .table = nullptr,
                                         .table_stride = 0,
                                         .kv_heads = 0,
                                         .head_dim = config_.head_dim()}};
    return check_status(compute_.kernels().rope_write(&call, compute_.memory->stream()),
                        "rope_write");
  }

  // Every patch of a picture sees every other.
  Result<void> attend(Pass& pass) {
    const auto at_part = [&](std::int64_t part) {
      return pass.qkv.narrow(1, part * config_.hidden_size, config_.hidden_size).const_data_ptr();
    };
    const std::int64_t patches = pass.qkv.size(0);
    return attention_.run(
        {.rows = patches,
         .heads = config_.heads,
         .kv_heads = config_.heads,
         .head_dim = config_.head_dim(),
         .query = at_part(0),
         .query_stride = pass.qkv.size(1),
         .length = patches,
         .keys = at_part(1),
         .values = at_part(2),
         .head_stride = config_.head_dim(),
         .token_stride = pass.qkv.size(1),
         .first = 0,
         .segments = pass.places.segments.data(),
         .segment_count = static_cast<std::int64_t>(pass.places.segments.size()) - 1,
         .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config_.head_dim()))),
         .output = pass.attended.mutable_data_ptr(),
         .output_stride = pass.attended.size(1)});
  }

  // merge_size² neighbouring patches, which follow each other, become one row.
  at::Tensor joined(const at::Tensor& patches) const {
    return patches.view({-1, config_.merged_size()});
  }

  // [patches, hidden], as the last merger wants them: normalised before they are joined.
  at::Tensor normed(const at::Tensor& patches) const {
    const at::TensorOptions fp32 = options().dtype(at::kFloat);
    const std::int64_t width = config_.hidden_size;
    const VisionNorm& norm = weights_.merger.norm;
    return at::layer_norm(patches.to(at::kFloat), width,
                          engine::view_at(norm.weight, {width}, fp32),
                          engine::view_at(norm.bias, {width}, fp32), kNormEpsilon)
        .to(options().dtype());
  }

  // [tokens, merged] -> [tokens, text hidden]
  Result<at::Tensor> merge(const VisionMerger& merger, const at::Tensor& tokens, bool with_norm) {
    at::Tensor between = at::empty(tokens.sizes(), options());
    at::Tensor merged = at::empty({tokens.size(0), config_.out_hidden_size}, options());
    CHECK_OK(run({.linear = merger.fc1,
                  .input = tokens,
                  .output = between,
                  .activation = HEARTH_GELU_ERF,
                  .norm = with_norm ? &merger.norm : nullptr}));
    CHECK_OK(run({.linear = merger.fc2, .input = between, .output = merged}));
    return merged;
  }

  // Weights that the next launches read.
  Result<void> await(std::initializer_list<const void*> weights) {
    return compute_.memory->await({weights.begin(), weights.size()});
  }

  Result<void> run(const Product& product) {
    const VisionNorm norm = product.norm == nullptr ? VisionNorm{} : *product.norm;
    CHECK_OK(await({product.linear.matrix.data, product.linear.bias, norm.weight, norm.bias}));
    return linears_.run({.weight = product.linear.matrix,
                         .output_type = compute_.type,
                         .epilogue = product.epilogue,
                         .activation = product.activation,
                         .rows = product.input.size(0),
                         .input = product.input.const_data_ptr(),
                         .input_stride = product.input.size(1),
                         .norm = norm.weight == nullptr ? HEARTH_NO_NORM : HEARTH_LAYER_NORM,
                         .norm_weight = norm.weight,
                         .norm_bias = norm.bias,
                         .norm_epsilon = kNormEpsilon,
                         .bias = product.linear.bias,
                         .output = product.output.mutable_data_ptr(),
                         .output_stride = product.output.size(1)});
  }

  // Each picture's part, in memory of its own: a cache may keep one and drop another.
  std::vector<engine::Features> split(const PatchPlaces& places,
                                      const std::vector<at::Tensor>& made) const {
    const std::size_t pictures = places.segments.size() - 1;
    const std::int64_t per_token = std::int64_t{config_.merge_size} * config_.merge_size;
    std::vector<engine::Features> features(pictures);
    for (std::size_t i = 0; i < pictures; ++i) {
      const std::int64_t first = places.segments[i] / per_token;
      const std::int64_t count = places.segments[i + 1] / per_token - first;
      const auto own = [&](const at::Tensor& all) {
        return pictures == 1 ? all : all.narrow(0, first, count).clone();
      };
      for (std::size_t level = 0; level + 1 < made.size(); ++level)
        features[i].deepstack.push_back(own(made[level]));
      features[i].rows = own(made.back());
    }
    return features;
  }

  const VisionConfig config_;
  const VisionWeights weights_;
  const engine::Compute compute_;
  const engine::PatchCutter cutter_;
  const PatchRope rope_;
  engine::Linears linears_;
  engine::Attention attention_;
};

}  // namespace

std::unique_ptr<engine::Tower> make_tower(const VisionConfig& config, VisionWeights weights,
                                          const engine::Compute& compute,
                                          const image::PictureRules& rules) {
  return std::make_unique<VisionTower>(config, std::move(weights), compute, rules);
}

std::uint64_t vision_scratch_bytes(const VisionConfig& config, HearthType type,
                                   std::int64_t patches) {
  const std::int64_t hidden = config.hidden_size;
  const auto item = static_cast<std::int64_t>(kernels::item_bytes(type));
  const std::int64_t tokens = patches / (config.merge_size * config.merge_size);
  const std::int64_t levels = static_cast<std::int64_t>(config.deepstack_layers.size()) + 1;
  const std::int64_t elements = patches * (5 * hidden + config.patch_floats()) +
                                std::min(patches, kMlpRows) * config.intermediate_size +
                                tokens * (config.merged_size() + levels * config.out_hidden_size);
  return static_cast<std::uint64_t>(elements * item + patches * hidden * 4) +
         engine::PatchCutter::scratch_bytes(config.patch_size, patches);
}

}  // namespace hearth::qwen3_vl
