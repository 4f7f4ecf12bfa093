// Source: transformers 5.23, Qwen3VLVisionModel (modeling_qwen3_vl.py).

#include "models/qwen3_tower/vision.h"

#include <algorithm>

#include <ATen/ops/_embedding_bag_forward_only.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/layer_norm.h>

#include "models/kernels/formats.h"
#include "models/qwen3_tower/patch_places.h"
#include "models/torch/patch_cutter.h"
#include "models/torch/tensors.h"
#include "models/torch/tower_ops.h"

namespace hearth::qwen3_tower {
namespace {

// Rows of an MLP that are computed together: what is between its two products stays in a cache.
constexpr std::int64_t kMlpRows = 1024;

engine::TowerNorm layer_norm(const VisionNorm& norm) {
  return {.kind = HEARTH_LAYER_NORM, .weight = norm.weight, .bias = norm.bias};
}

// The activations of a pass, all pictures under each other.
struct Pass {
  PatchPlaces places;
  engine::PatchAngles angles;
  at::Tensor x;         // [patches, hidden]: the residual stream
  at::Tensor qkv;       // [patches, 3 hidden]
  at::Tensor attended;  // [patches, hidden]
  at::Tensor between;   // [kMlpRows at most, intermediate]
};

class VisionTower : public engine::Tower {
 public:
  VisionTower(const VisionConfig& config, VisionWeights weights, const engine::Compute& compute,
              const image::PictureRules& rules)
      : config_(config),
        weights_(std::move(weights)),
        cutter_(compute, rules),
        ops_(compute, {.heads = config.heads,
                       .head_dim = config.head_dim(),
                       .rope_theta = config.rope_theta}) {}

  Result<std::vector<engine::Features>> encode(
      models::OnEngine, std::span<const image::Still* const> pictures) override {
    const engine::OnStream stream(ops_.compute());
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
    TRY(const at::Tensor last, normed(pass.x));
    TRY(made.back(), merge(weights_.merger, joined(last), false));
    return engine::split_pictures(pass.places.segments, patches_per_token(), made);
  }

  image::Still smallest_picture() const override {
    return image::smallest_still(config_.merge_size);
  }

  void drop_scratch() override { ops_.drop_scratch(); }

 private:
  std::int64_t patches_per_token() const {
    return std::int64_t{config_.merge_size} * config_.merge_size;
  }

  Result<void> begin(std::span<const image::Still* const> pictures, Pass& pass) {
    pass.places = place_patches(config_, pictures);
    const std::int64_t patches = pass.places.patches();
    const std::int64_t hidden = config_.hidden_size;
    pass.qkv = at::empty({patches, 3 * hidden}, ops_.options());
    pass.attended = at::empty({patches, hidden}, ops_.options());
    pass.between =
        at::empty({std::min(patches, kMlpRows), config_.intermediate_size}, ops_.options());
    TRY(pass.angles, ops_.angles(pass.places.positions));
    // The product with the patches is added to the learned positions.
    TRY(pass.x, interpolated_positions(pass.places));
    TRY(const at::Tensor rows, cutter_.cut(pictures, patches));
    return ops_.run(
        {.linear = weights_.patch_embed, .input = rows, .output = pass.x, .epilogue = HEARTH_ADD});
  }

  // Bilinear between the four nearest learned positions, in fp32. [patches, hidden]
  Result<at::Tensor> interpolated_positions(const PatchPlaces& places) const {
    constexpr std::int64_t kCorners = 4, kSum = 0;
    const std::int64_t corners = kCorners * places.patches();
    CHECK_OK(ops_.await({weights_.positions}));
    const at::Tensor table =
        engine::view_at(weights_.positions, {config_.position_rows, config_.hidden_size},
                        ops_.options().dtype(at::kFloat));
    const at::Tensor rows = ops_.placed<std::int64_t>(places.corners, {corners}, at::kLong);
    const at::Tensor weights = ops_.placed<float>(places.weights, {corners}, at::kFloat);
    const at::Tensor firsts = at::arange(0, corners, kCorners, ops_.options().dtype(at::kLong));
    return std::get<0>(
               at::_embedding_bag_forward_only(table, rows, firsts, false, kSum, false, weights))
        .to(ops_.options().dtype());
  }

  Result<void> run_block(const VisionBlock& block, Pass& pass) {
    CHECK_OK(ops_.run({.linear = block.qkv,
                       .input = pass.x,
                       .output = pass.qkv,
                       .norm = layer_norm(block.norm1)}));
    CHECK_OK(ops_.rotate(pass.angles, pass.qkv));
    CHECK_OK(ops_.attend(pass.qkv, pass.places.segments, pass.attended));
    CHECK_OK(ops_.run(
        {.linear = block.proj, .input = pass.attended, .output = pass.x, .epilogue = HEARTH_ADD}));
    for (std::int64_t first = 0; first < pass.x.size(0); first += kMlpRows) {
      const std::int64_t rows = std::min(kMlpRows, pass.x.size(0) - first);
      at::Tensor part = pass.x.narrow(0, first, rows);
      at::Tensor between = pass.between.narrow(0, 0, rows);
      CHECK_OK(ops_.run({.linear = block.fc1,
                         .input = part,
                         .output = between,
                         .activation = HEARTH_GELU_TANH,
                         .norm = layer_norm(block.norm2)}));
      CHECK_OK(ops_.run(
          {.linear = block.fc2, .input = between, .output = part, .epilogue = HEARTH_ADD}));
    }
    return {};
  }

  // merge_size² neighbouring patches, which follow each other, become one row.
  at::Tensor joined(const at::Tensor& patches) const {
    return patches.view({-1, config_.merged_size()});
  }

  // [patches, hidden], as the last merger wants them: normalised before they are joined.
  Result<at::Tensor> normed(const at::Tensor& patches) const {
    const at::TensorOptions fp32 = ops_.options().dtype(at::kFloat);
    const std::int64_t width = config_.hidden_size;
    const VisionNorm& norm = weights_.merger.norm;
    CHECK_OK(ops_.await({norm.weight, norm.bias}));
    return at::layer_norm(patches.to(at::kFloat), width,
                          engine::view_at(norm.weight, {width}, fp32),
                          engine::view_at(norm.bias, {width}, fp32), 1e-6)
        .to(ops_.options().dtype());
  }

  // [tokens, merged] -> [tokens, text hidden]
  Result<at::Tensor> merge(const VisionMerger& merger, const at::Tensor& tokens, bool with_norm) {
    at::Tensor between = at::empty(tokens.sizes(), ops_.options());
    at::Tensor merged = at::empty({tokens.size(0), config_.out_hidden_size}, ops_.options());
    CHECK_OK(ops_.run({.linear = merger.fc1,
                       .input = tokens,
                       .output = between,
                       .activation = HEARTH_GELU_ERF,
                       .norm = with_norm ? layer_norm(merger.norm) : engine::TowerNorm{}}));
    CHECK_OK(ops_.run({.linear = merger.fc2, .input = between, .output = merged}));
    return merged;
  }

  const VisionConfig config_;
  const VisionWeights weights_;
  const engine::PatchCutter cutter_;
  engine::TowerOps ops_;
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

}  // namespace hearth::qwen3_tower
