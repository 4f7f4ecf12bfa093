// Source: transformers 5.23, Qwen2_5_VisionTransformerPretrainedModel (modeling_qwen2_5_vl.py).

#include "models/qwen2_5_vl/vision.h"

#include <algorithm>

#include <ATen/ops/empty.h>

#include "models/kernels/formats.h"
#include "models/qwen2_5_vl/windows.h"
#include "models/torch/patch_cutter.h"
#include "models/torch/tensors.h"
#include "models/torch/tower_ops.h"

namespace hearth::qwen2_5_vl {
namespace {

// Rows of an MLP that are computed together: what is between its two products stays in a cache.
constexpr std::int64_t kMlpRows = 1024;

engine::TowerNorm rms_norm(const float* weight) {
  return {.kind = HEARTH_RMS_NORM, .weight = weight};
}

// The activations of a pass, all pictures under each other, window by window.
struct Pass {
  PatchOrder order;
  engine::PatchAngles angles;
  at::Tensor x;         // [patches, hidden]: the residual stream
  at::Tensor qkv;       // [patches, 3 hidden]
  at::Tensor attended;  // [patches, hidden]
  at::Tensor between;   // [kMlpRows at most, intermediate]
};

class VisionTower : public engine::Tower {
 public:
  VisionTower(const VisionConfig& config, VisionWeights weights, const engine::Compute& compute,
              const image::PictureRules& pictures)
      : config_(config),
        weights_(std::move(weights)),
        cutter_(compute, pictures),
        ops_(compute, {.heads = config.heads, .head_dim = config.head_dim()}) {}

  Result<std::vector<engine::Features>> encode(
      models::OnEngine, std::span<const image::Still* const> pictures) override {
    const engine::OnStream stream(ops_.compute());
    Pass pass;
    CHECK_OK(begin(pictures, pass));
    const auto& full = config_.full_attention_blocks;
    for (std::size_t i = 0; i < weights_.blocks.size(); ++i) {
      const bool sees_all =
          std::find(full.begin(), full.end(), static_cast<std::int64_t>(i)) != full.end();
      CHECK_OK(
          run_block(weights_.blocks[i], sees_all ? pass.order.pictures : pass.order.windows, pass));
    }
    TRY(const at::Tensor merged, merge(pass));
    return engine::split_pictures(pass.order.pictures, patches_per_token(), {&merged, 1});
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
    pass.order = order_patches(config_, pictures);
    const std::int64_t patches = pass.order.patches();
    const std::int64_t hidden = config_.hidden_size;
    pass.x = at::empty({patches, hidden}, ops_.options());
    pass.qkv = at::empty({patches, 3 * hidden}, ops_.options());
    pass.attended = at::empty({patches, hidden}, ops_.options());
    pass.between =
        at::empty({std::min(patches, kMlpRows), config_.intermediate_size}, ops_.options());
    TRY(pass.angles, ops_.angles(pass.order.positions));
    TRY(const at::Tensor rows, cutter_.cut(pictures, patches));
    return ops_.run({.linear = weights_.patch_embed,
                     .input = tokens_in(pass.order.tokens, rows),
                     .output = pass.x});
  }

  // Token i is what token order[i] was, whatever a token consists of. rows: [patches or tokens, _]
  at::Tensor tokens_in(std::span<const std::int64_t> order, const at::Tensor& rows) const {
    const auto tokens = static_cast<std::int64_t>(order.size());
    const at::Tensor numbers = ops_.placed(order, {tokens}, at::kLong);
    return rows.view({tokens, -1}).index_select(0, numbers).view(rows.sizes());
  }

  Result<void> run_block(const VisionBlock& block, std::span<const std::int32_t> segments,
                         Pass& pass) {
    CHECK_OK(ops_.run(
        {.linear = block.qkv, .input = pass.x, .output = pass.qkv, .norm = rms_norm(block.norm1)}));
    CHECK_OK(ops_.rotate(pass.angles, pass.qkv));
    CHECK_OK(ops_.attend(pass.qkv, segments, pass.attended));
    CHECK_OK(ops_.run(
        {.linear = block.proj, .input = pass.attended, .output = pass.x, .epilogue = HEARTH_ADD}));
    for (std::int64_t first = 0; first < pass.x.size(0); first += kMlpRows) {
      const std::int64_t rows = std::min(kMlpRows, pass.x.size(0) - first);
      at::Tensor part = pass.x.narrow(0, first, rows);
      at::Tensor between = pass.between.narrow(0, 0, rows);
      CHECK_OK(ops_.run({.linear = block.gate_up,
                         .input = part,
                         .output = between,
                         .epilogue = HEARTH_SWIGLU,
                         .norm = rms_norm(block.norm2)}));
      CHECK_OK(ops_.run(
          {.linear = block.down, .input = between, .output = part, .epilogue = HEARTH_ADD}));
    }
    return {};
  }

  // [patches, hidden] -> [tokens, text hidden], pictures' own order again.
  Result<at::Tensor> merge(Pass& pass) {
    TRY(const at::Tensor normed, norm(pass.x));
    const at::Tensor joined = normed.view({-1, config_.merged_size()});
    at::Tensor between = at::empty(joined.sizes(), ops_.options());
    at::Tensor merged = at::empty({joined.size(0), config_.out_hidden_size}, ops_.options());
    CHECK_OK(ops_.run({.linear = weights_.merger_fc1,
                       .input = joined,
                       .output = between,
                       .activation = HEARTH_GELU_ERF}));
    CHECK_OK(ops_.run({.linear = weights_.merger_fc2, .input = between, .output = merged}));
    return tokens_in(pass.order.places, merged);
  }

  // Before patches are joined, so that no product can do it.
  Result<at::Tensor> norm(at::Tensor& x) const {
    const engine::Compute& compute = ops_.compute();
    at::Tensor normed = at::empty(x.sizes(), ops_.options());
    CHECK_OK(ops_.await({weights_.merger_norm}));
    const HearthRmsNorm call{.type = compute.type,
                             .rows = x.size(0),
                             .width = x.size(1),
                             .input = x.mutable_data_ptr(),
                             .input_stride = x.size(1),
                             .residual = nullptr,
                             .residual_stride = 0,
                             .weight = weights_.merger_norm,
                             .epsilon = 1e-6F,
                             .output = normed.mutable_data_ptr(),
                             .output_stride = x.size(1)};
    CHECK_OK(decoder::check_status(compute.kernels().rms_norm(&call, compute.memory->stream()),
                                   "rms_norm"));
    return normed;
  }

  const VisionConfig config_;
  const VisionWeights weights_;
  const engine::PatchCutter cutter_;
  engine::TowerOps ops_;
};

}  // namespace

std::unique_ptr<engine::Tower> make_tower(const VisionConfig& config, VisionWeights weights,
                                          const engine::Compute& compute,
                                          const image::PictureRules& pictures) {
  return std::make_unique<VisionTower>(config, std::move(weights), compute, pictures);
}

std::uint64_t vision_scratch_bytes(const VisionConfig& config, HearthType type,
                                   std::int64_t patches) {
  const std::int64_t hidden = config.hidden_size;
  const auto item = static_cast<std::int64_t>(kernels::item_bytes(type));
  const std::int64_t tokens = patches / (config.merge_size * config.merge_size);
  const std::int64_t elements = patches * (6 * hidden + 2 * config.patch_floats()) +
                                std::min(patches, kMlpRows) * config.intermediate_size +
                                tokens * (config.merged_size() + 2 * config.out_hidden_size);
  return static_cast<std::uint64_t>(elements * item) +
         engine::PatchCutter::scratch_bytes(config.patch_size, patches);
}

}  // namespace hearth::qwen2_5_vl
