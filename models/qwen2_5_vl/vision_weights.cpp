#include "models/qwen2_5_vl/vision_weights.h"

namespace hearth::qwen2_5_vl {
namespace {

constexpr const char* kPatchEmbed = "visual.patch_embed.proj.weight";
constexpr const char* kMergerNorm = "visual.merger.ln_q.weight";
constexpr const char* kMergerFc1 = "visual.merger.mlp.0";
constexpr const char* kMergerFc2 = "visual.merger.mlp.2";

class TensorList {
 public:
  explicit TensorList(const VisionConfig& config) : config_(config), shapes_(tensors_of(config)) {}

  std::vector<weights::Tensor> make() {
    add(kPatchEmbed);
    for (std::int32_t block = 0; block < config_.depth; ++block) add_block(block);
    norm(kMergerNorm);
    linear(kMergerFc1);
    linear(kMergerFc2);
    return std::move(tensors_);
  }

 private:
  void add_block(std::int32_t block) {
    norm(block_name(block, "norm1.weight"));
    linear(block_name(block, "attn.qkv"));
    linear(block_name(block, "attn.proj"));
    norm(block_name(block, "norm2.weight"));
    pair(block_name(block, "mlp.gate_proj"), block_name(block, "mlp.up_proj"));
    linear(block_name(block, "mlp.down_proj"));
  }

  void norm(const std::string& name) {
    add(name);
    tensors_.back().keep_f32 = true;
  }

  void linear(const std::string& name) {
    add(name + ".weight");
    add(name + ".bias");
  }

  // Row by row, under the first one's name.
  void pair(const std::string& first, const std::string& second) {
    for (const char* part : {".weight", ".bias"}) {
      add(first + part);
      tensors_.back().interleaved_with = second + part;
    }
  }

  void add(const std::string& name) { tensors_.push_back({name, shapes_.at(name)}); }

  const VisionConfig& config_;
  const decoder::TensorShapes shapes_;
  std::vector<weights::Tensor> tensors_;
};

const float* floats(const weights::Weights& loaded, const std::string& name) {
  return static_cast<const float*>(loaded.tensor(name).data);
}

decoder::Linear linear(const weights::Weights& loaded, const std::string& name) {
  return {loaded.tensor(name + ".weight"), loaded.tensor(name + ".bias").data};
}

VisionBlock block(const weights::Weights& loaded, std::int32_t index) {
  return {.norm1 = floats(loaded, block_name(index, "norm1.weight")),
          .norm2 = floats(loaded, block_name(index, "norm2.weight")),
          .qkv = linear(loaded, block_name(index, "attn.qkv")),
          .proj = linear(loaded, block_name(index, "attn.proj")),
          .gate_up = linear(loaded, block_name(index, "mlp.gate_proj")),
          .down = linear(loaded, block_name(index, "mlp.down_proj"))};
}

}  // namespace

std::vector<weights::Tensor> vision_tensors(const VisionConfig& config) {
  return TensorList(config).make();
}

VisionWeights vision_weights(const weights::Weights& loaded, const VisionConfig& config) {
  VisionWeights placed;
  placed.patch_embed = {loaded.tensor(kPatchEmbed)};
  for (std::int32_t i = 0; i < config.depth; ++i) placed.blocks.push_back(block(loaded, i));
  placed.merger_norm = floats(loaded, kMergerNorm);
  placed.merger_fc1 = linear(loaded, kMergerFc1);
  placed.merger_fc2 = linear(loaded, kMergerFc2);
  return placed;
}

}  // namespace hearth::qwen2_5_vl
