#include "models/qwen2_5_vl/config.h"

#include <cmath>

#include <fmt/format.h>

#include "models/language/config_numbers.h"
#include "models/language/text_config.h"

namespace hearth::qwen2_5_vl {
namespace {

using files::ConfigValue;
using language::dimension;
using language::number;

constexpr std::string_view kPatches = "visual.patch_embed.proj.weight";

// Published towers, whatever their size, have 32 blocks and look at the whole picture in these.
constexpr std::int32_t kPublishedDepth = 32;
const std::vector<std::int64_t> kPublishedFullBlocks = {7, 15, 23, 31};

language::TextRules text_rules() {
  language::TextRules rules;
  rules.qkv_biases = true;
  rules.published_theta = rules.assumed_theta = 1e6;
  rules.sections = {16, 24, 24};
  rules.interleaved = false;
  rules.published_context_tokens = 128'000;
  return rules;
}

VisionConfig read_shapes(const files::WeightIndex& index) {
  VisionConfig vision;
  vision.depth = language::count_tensors(index, "visual.blocks.", ".norm1.weight");
  vision.hidden_size = dimension(index, kPatches, 0);
  vision.temporal_patch_size = dimension(index, kPatches, 2);
  vision.patch_size = dimension(index, kPatches, 3);
  vision.intermediate_size = dimension(index, block_name(0, "mlp.gate_proj.weight"), 0);
  vision.out_hidden_size = dimension(index, "visual.merger.mlp.2.weight", 0);
  const double merged =
      language::divided(dimension(index, "visual.merger.mlp.0.weight", 1), vision.hidden_size);
  vision.merge_size = static_cast<std::int32_t>(std::lround(std::sqrt(merged)));
  if (vision.depth == kPublishedDepth) vision.full_attention_blocks = kPublishedFullBlocks;
  return vision;
}

Result<void> check_vision(const VisionConfig& vision, const ConfigValue& json) {
  if (vision.hidden_size % vision.heads != 0 || vision.head_dim() % 4 != 0)
    return json.error(
        fmt::format("describes a hidden size of {} for {} heads, whose channels "
                    "cannot be rotated along two axes",
                    vision.hidden_size, vision.heads));
  constexpr std::int32_t kMostPatch = 64;
  if (vision.patch_size > kMostPatch || vision.temporal_patch_size > kMostPatch ||
      vision.merge_size > kMostPatch)
    return json.error("describes patches larger than any picture");
  if (vision.window_tokens() < 1)
    return json.error(fmt::format("describes windows of {} pixels, smaller than a token of {}",
                                  vision.window_size, vision.patch_size * vision.merge_size));
  return {};
}

Result<VisionConfig> read_vision(const ConfigValue& vision, const files::WeightIndex& index) {
  CHECK_OK(language::expect(vision["hidden_act"], "silu"));
  VisionConfig read = read_shapes(index);
  const auto take = [&](std::string_view key, std::int32_t& value,
                        std::int64_t most = language::kMostWidth) -> Result<void> {
    TRY(value, number(vision[key], value, most));
    return {};
  };
  CHECK_OK(take("depth", read.depth, language::kMostLayers));
  CHECK_OK(take("hidden_size", read.hidden_size));
  CHECK_OK(take("num_heads", read.heads));
  CHECK_OK(take("intermediate_size", read.intermediate_size));
  CHECK_OK(take("patch_size", read.patch_size));
  CHECK_OK(take("temporal_patch_size", read.temporal_patch_size));
  CHECK_OK(take("spatial_merge_size", read.merge_size));
  CHECK_OK(take("window_size", read.window_size));
  CHECK_OK(take("out_hidden_size", read.out_hidden_size));
  CHECK_OK(take("tokens_per_second", read.tokens_per_second));
  if (const ConfigValue blocks = vision["fullatt_block_indexes"]; blocks) {
    TRY(read.full_attention_blocks, blocks.integers(0, read.depth - 1));
  } else if (read.full_attention_blocks.empty()) {
    return blocks.error("is missing, and no tensor tells it");
  }
  CHECK_OK(check_vision(read, vision));
  return read;
}

void add_linear(decoder::TensorShapes& shapes, const std::string& name, std::int64_t out,
                std::int64_t in) {
  shapes[name + ".weight"] = {out, in};
  shapes[name + ".bias"] = {out};
}

}  // namespace

decoder::TensorShapes tensors_of(const VisionConfig& vision) {
  const std::int64_t hidden = vision.hidden_size, between = vision.intermediate_size;
  decoder::TensorShapes shapes;
  shapes[std::string(kPatches)] = {hidden, 3, vision.temporal_patch_size, vision.patch_size,
                                   vision.patch_size};
  for (std::int32_t block = 0; block < vision.depth; ++block) {
    shapes[block_name(block, "norm1.weight")] = {hidden};
    shapes[block_name(block, "norm2.weight")] = {hidden};
    add_linear(shapes, block_name(block, "attn.qkv"), 3 * hidden, hidden);
    add_linear(shapes, block_name(block, "attn.proj"), hidden, hidden);
    add_linear(shapes, block_name(block, "mlp.gate_proj"), between, hidden);
    add_linear(shapes, block_name(block, "mlp.up_proj"), between, hidden);
    add_linear(shapes, block_name(block, "mlp.down_proj"), hidden, between);
  }
  shapes["visual.merger.ln_q.weight"] = {hidden};
  add_linear(shapes, "visual.merger.mlp.0", vision.merged_size(), vision.merged_size());
  add_linear(shapes, "visual.merger.mlp.2", vision.out_hidden_size, vision.merged_size());
  return shapes;
}

std::string block_name(std::int32_t block, std::string_view rest) {
  return fmt::format("visual.blocks.{}.{}", block, rest);
}

bool has_our_names(const files::WeightIndex& index) {
  return index.find(block_name(0, "mlp.gate_proj.weight")) != nullptr &&
         index.find("visual.merger.ln_q.weight") != nullptr;
}

Result<Config> read_config(const ConfigValue& json, const files::WeightIndex& index) {
  Config config;
  TRY(config.text, language::read_text(json, index, text_rules()));
  TRY(config.vision, read_vision(json["vision_config"], index));
  CHECK_OK(decoder::check(config.text));
  if (config.vision.out_hidden_size != config.text.hidden_size)
    return json.error(fmt::format("has a vision tower for hidden size {}, the text model has {}",
                                  config.vision.out_hidden_size, config.text.hidden_size));
  if (const ConfigValue token = json["image_token_id"]; token) {
    TRY(config.image_token, token.integer(0, language::kMostVocabulary));
  }
  TRY(config.end_tokens, language::read_end_tokens(json));
  config.tensors = decoder::tensors_of(config.text);
  config.tensors.merge(tensors_of(config.vision));
  return config;
}

}  // namespace hearth::qwen2_5_vl
