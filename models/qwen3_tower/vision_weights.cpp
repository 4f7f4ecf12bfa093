#include "models/qwen3_tower/vision_weights.h"

#include <algorithm>

#include "models/qwen3_tower/layout.h"

namespace hearth::qwen3_tower {
namespace {

constexpr const char* kPatchEmbed = "visual.patch_embed.proj";
constexpr const char* kPositions = "visual.pos_embed.weight";
constexpr const char* kMerger = "visual.merger.";

// The DeepStack level that is taken after a block; -1: none.
std::int32_t level_after(const VisionConfig& config, std::int32_t block) {
  const auto& layers = config.deepstack_layers;
  const auto found = std::find(layers.begin(), layers.end(), block);
  return found == layers.end() ? -1 : static_cast<std::int32_t>(found - layers.begin());
}

class TensorList {
 public:
  explicit TensorList(const VisionConfig& config) : config_(config), shapes_(tensors_of(config)) {}

  std::vector<weights::Tensor> make() {
    linear(kPatchEmbed);
    add(kPositions, true);
    for (std::int32_t block = 0; block < config_.depth; ++block) add_block(block);
    merger(kMerger);
    return std::move(tensors_);
  }

 private:
  void add_block(std::int32_t block) {
    norm(block_name(block, "norm1"));
    linear(block_name(block, "attn.qkv"));
    linear(block_name(block, "attn.proj"));
    norm(block_name(block, "norm2"));
    linear(block_name(block, "mlp.linear_fc1"));
    linear(block_name(block, "mlp.linear_fc2"));
    if (const std::int32_t level = level_after(config_, block); level >= 0)
      merger(deepstack_name(level, ""));
  }

  void merger(const std::string& prefix) {
    norm(prefix + "norm");
    linear(prefix + "linear_fc1");
    linear(prefix + "linear_fc2");
  }

  void norm(const std::string& name) {
    add(name + ".weight", true);
    add(name + ".bias", true);
  }

  void linear(const std::string& name) {
    add(name + ".weight", false);
    add(name + ".bias", false);
  }

  void add(const std::string& name, bool keep_f32) {
    tensors_.push_back({name, shapes_.at(name), keep_f32});
  }

  const VisionConfig& config_;
  const decoder::TensorShapes shapes_;
  std::vector<weights::Tensor> tensors_;
};

const float* floats(const weights::Weights& loaded, const std::string& name) {
  return static_cast<const float*>(loaded.tensor(name).data);
}

VisionNorm norm(const weights::Weights& loaded, const std::string& name) {
  return {floats(loaded, name + ".weight"), floats(loaded, name + ".bias")};
}

decoder::Linear linear(const weights::Weights& loaded, const std::string& name) {
  return {loaded.tensor(name + ".weight"), loaded.tensor(name + ".bias").data};
}

VisionMerger merger(const weights::Weights& loaded, const std::string& prefix) {
  return {norm(loaded, prefix + "norm"), linear(loaded, prefix + "linear_fc1"),
          linear(loaded, prefix + "linear_fc2")};
}

VisionBlock block(const weights::Weights& loaded, std::int32_t index) {
  return {.norm1 = norm(loaded, block_name(index, "norm1")),
          .norm2 = norm(loaded, block_name(index, "norm2")),
          .qkv = linear(loaded, block_name(index, "attn.qkv")),
          .proj = linear(loaded, block_name(index, "attn.proj")),
          .fc1 = linear(loaded, block_name(index, "mlp.linear_fc1")),
          .fc2 = linear(loaded, block_name(index, "mlp.linear_fc2"))};
}

}  // namespace

std::vector<weights::Tensor> vision_tensors(const VisionConfig& config) {
  return TensorList(config).make();
}

VisionWeights vision_weights(const weights::Weights& loaded, const VisionConfig& config) {
  VisionWeights placed;
  placed.type = loaded.precision().type;
  placed.patch_embed = linear(loaded, kPatchEmbed);
  placed.positions = floats(loaded, kPositions);
  for (std::int32_t i = 0; i < config.depth; ++i) placed.blocks.push_back(block(loaded, i));
  placed.merger = merger(loaded, kMerger);
  for (std::size_t level = 0; level < config.deepstack_layers.size(); ++level)
    placed.deepstack.push_back(
        merger(loaded, deepstack_name(static_cast<std::int32_t>(level), "")));
  placed.device = loaded.decoder().device;
  return placed;
}

}  // namespace hearth::qwen3_tower
