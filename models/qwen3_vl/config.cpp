#include "models/qwen3_vl/config.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "models/files/model_file.h"
#include "models/qwen3_vl/layout.h"

namespace hearth::qwen3_vl {
namespace {

using files::ConfigValue;

// Larger numbers than any model has, small enough that no product of two overflows.
constexpr std::int64_t kMostWidth = 1 << 20;
constexpr std::int64_t kMostLayers = 1024;
constexpr std::int64_t kMostVocabulary = 1 << 24;
constexpr std::int64_t kMostContext = 1 << 24;

// Published sizes up to 4B share head and embedding, larger ones do not.
constexpr std::int32_t kLargestTiedHiddenSize = 2560;

Result<std::int32_t> number(const ConfigValue& value, std::int32_t fallback, std::int64_t max) {
  TRY(const std::int64_t found, value.integer_or(fallback, 0, max));
  if (found < 1) return value.error("is missing, and no tensor tells it");
  return static_cast<std::int32_t>(found);
}

Result<void> expect(const ConfigValue& value, std::string_view wanted) {
  TRY(const std::string_view found, value.text_or(wanted));
  if (found == wanted) return {};
  return fail(Code::kUnsupported,
              fmt::format("{} is \"{}\"; hearth computes \"{}\"", value.path(), found, wanted));
}

Result<void> expect_plain_rope(const ConfigValue& rope) {
  const ConfigValue type = rope["rope_type"] ? rope["rope_type"] : rope["type"];
  TRY(const std::string_view name, type.text_or("default"));
  if (name != "default" && name != "mrope")
    return fail(Code::kUnsupported,
                fmt::format("{} is \"{}\"; hearth computes unscaled rope only", type.path(), name));
  TRY(const bool interleaved, rope["mrope_interleaved"].boolean_or(true));
  if (!interleaved)
    return fail(Code::kUnsupported, rope["mrope_interleaved"].path() +
                                        " is false; this family interleaves its sections");
  return {};
}

Result<decoder::Rope> read_rope(const ConfigValue& text) {
  const ConfigValue rope = text["rope_parameters"] ? text["rope_parameters"] : text["rope_scaling"];
  CHECK_OK(expect_plain_rope(rope));
  decoder::Rope read;
  // Published checkpoints use 5e6; transformers assumes 5e5 when a config.json does not say.
  const double assumed = text.exists() ? 500'000.0 : 5'000'000.0;
  const ConfigValue theta = rope["rope_theta"] ? rope["rope_theta"] : text["rope_theta"];
  TRY(read.theta, theta.number_or(assumed));
  read.sections = {24, 20, 20};
  if (const ConfigValue sections = rope["mrope_section"]; sections) {
    TRY(const std::vector<std::int64_t> found, sections.integers(0, kMostWidth));
    if (found.size() != 3) return sections.error("has not three entries");
    std::transform(found.begin(), found.end(), read.sections.begin(),
                   [](std::int64_t section) { return static_cast<std::int32_t>(section); });
  }
  return read;
}

Result<decoder::LayerDescription> read_layer(const ConfigValue& text, const Shapes& shapes) {
  CHECK_OK(expect(text["hidden_act"], "silu"));
  decoder::LayerDescription layer = shapes.layer;
  TRY(layer.head_dim, number(text["head_dim"], layer.head_dim, kMostWidth));
  TRY(layer.heads, number(text["num_attention_heads"], layer.heads, kMostWidth));
  TRY(layer.kv_heads, number(text["num_key_value_heads"], layer.kv_heads, kMostWidth));
  TRY(layer.intermediate_size,
      number(text["intermediate_size"], layer.intermediate_size, kMostWidth));
  return layer;
}

Result<void> name_layers(const ConfigValue& text, const Shapes& shapes,
                         const files::WeightIndex& index, decoder::Description& description) {
  TRY(const decoder::LayerDescription layer, read_layer(text, shapes));
  TRY(const std::int32_t layers, number(text["num_hidden_layers"], shapes.layers, kMostLayers));
  const bool stored = index.find("model.layers.0.self_attn.q_proj.bias") != nullptr;
  TRY(const bool biases, text["attention_bias"].boolean_or(stored));
  for (std::int32_t i = 0; i < layers; ++i) {
    description.layers.push_back(layer);
    name_layer(description.layers.back(), i, biases);
  }
  return {};
}

// Whether the embedding is the head, from wherever it is said.
Result<std::optional<bool>> declared_tied(const ConfigValue& json, const ConfigValue& text) {
  const ConfigValue value =
      json["tie_word_embeddings"] ? json["tie_word_embeddings"] : text["tie_word_embeddings"];
  if (!value) return std::optional<bool>();
  TRY(const bool tied, value.boolean());
  return std::optional(tied);
}

Result<void> name_head(const ConfigValue& json, const ConfigValue& text,
                       const files::WeightIndex& index, decoder::Description& description) {
  constexpr std::string_view kHead = "lm_head.weight";
  TRY(const std::optional<bool> declared, declared_tied(json, text));
  const bool stored = index.find(kHead) != nullptr;
  const bool small = description.hidden_size <= kLargestTiedHiddenSize;
  const bool tied = declared.value_or(!stored && small);
  if (!tied && !stored)
    return fail(Code::kUnsupported,
                fmt::format("these files are encoder-only and cannot generate: {} is missing, and "
                            "a model of hidden size {} does not share it with the embedding",
                            kHead, description.hidden_size),
                "Use the whole checkpoint, as published for text generation.");
  if (!tied) description.head.weight = kHead;
  return {};
}

Result<decoder::Description> read_text(const ConfigValue& json, const Shapes& shapes,
                                       const files::WeightIndex& index) {
  const ConfigValue text = json["text_config"] ? json["text_config"] : json;
  decoder::Description read;
  TRY(read.hidden_size, number(text["hidden_size"], shapes.hidden_size, kMostWidth));
  TRY(read.vocabulary_size, number(text["vocab_size"], shapes.vocabulary_size, kMostVocabulary));
  TRY(read.context_tokens,
      number(text["max_position_embeddings"], json.exists() ? 128'000 : 262'144, kMostContext));
  TRY(read.norm_epsilon, text["rms_norm_eps"].number_or(1e-6));
  TRY(read.rope, read_rope(text));
  read.embedding = "model.embed_tokens.weight";
  read.final_norm = "model.norm.weight";
  CHECK_OK(name_layers(text, shapes, index, read));
  CHECK_OK(name_head(json, text, index, read));
  return read;
}

// Published towers of 24 blocks tap after 5, 11, 17; those of 27 after 8, 16, 24.
Result<std::vector<std::int64_t>> read_deepstack(const ConfigValue& vision, const Shapes& shapes,
                                                 std::int32_t depth) {
  const ConfigValue value = vision["deepstack_visual_indexes"];
  if (value) return value.integers(0, depth - 1);
  if (depth == 24 && shapes.deepstack_levels == 3) return std::vector<std::int64_t>{5, 11, 17};
  if (depth == 27 && shapes.deepstack_levels == 3) return std::vector<std::int64_t>{8, 16, 24};
  return value.error("is missing, and no tensor tells it");
}

Result<void> check_vision(const VisionConfig& vision, const ConfigValue& json) {
  const auto side = static_cast<std::int32_t>(std::lround(std::sqrt(vision.position_rows)));
  if (side * side != vision.position_rows)
    return json.error(fmt::format("describes a table of {} positions, which is no square grid",
                                  vision.position_rows));
  if (vision.hidden_size % vision.heads != 0 || vision.head_dim() % 4 != 0)
    return json.error(
        fmt::format("describes a hidden size of {} for {} heads, whose channels "
                    "cannot be rotated along two axes",
                    vision.hidden_size, vision.heads));
  const std::int64_t most = 64;
  if (vision.patch_size > most || vision.temporal_patch_size > most || vision.merge_size > most)
    return json.error("describes patches larger than any picture");
  return {};
}

Result<VisionConfig> read_vision(const ConfigValue& vision, const Shapes& shapes) {
  CHECK_OK(expect(vision["hidden_act"], "gelu_pytorch_tanh"));
  VisionConfig read = shapes.vision;
  TRY(read.depth, number(vision["depth"], read.depth, kMostLayers));
  TRY(read.hidden_size, number(vision["hidden_size"], read.hidden_size, kMostWidth));
  TRY(read.heads, number(vision["num_heads"], read.heads, kMostWidth));
  TRY(read.intermediate_size,
      number(vision["intermediate_size"], read.intermediate_size, kMostWidth));
  TRY(read.patch_size, number(vision["patch_size"], read.patch_size, kMostWidth));
  TRY(read.temporal_patch_size,
      number(vision["temporal_patch_size"], read.temporal_patch_size, kMostWidth));
  TRY(read.merge_size, number(vision["spatial_merge_size"], read.merge_size, kMostWidth));
  TRY(read.position_rows,
      number(vision["num_position_embeddings"], read.position_rows, kMostWidth));
  TRY(read.out_hidden_size, number(vision["out_hidden_size"], read.out_hidden_size, kMostWidth));
  TRY(read.rope_theta, vision["rope_parameters"]["rope_theta"].number_or(10'000.0));
  TRY(read.deepstack_layers, read_deepstack(vision, shapes, read.depth));
  CHECK_OK(check_vision(read, vision));
  return read;
}

Result<std::vector<std::int64_t>> read_end_tokens(const ConfigValue& json) {
  const ConfigValue value = json["text_config"]["eos_token_id"]
                                ? json["text_config"]["eos_token_id"]
                                : json["eos_token_id"];
  if (!value) return std::vector<std::int64_t>();
  if (value.is_array()) return value.integers(0, kMostVocabulary);
  TRY(const std::int64_t only, value.integer(0, kMostVocabulary));
  return std::vector{only};
}

}  // namespace

Result<ConfigValue> read_config_json(const models::ModelFiles& files) {
  if (files::find_file(files, "config.json") == nullptr) return ConfigValue();
  return files::read_json(files, "config.json");
}

Result<Config> read_config(const ConfigValue& json, const files::WeightIndex& index) {
  if (has_experts(index))
    return fail(Code::kUnsupported,
                "this is a Qwen3-VL with a mixture of experts; hearth serves the dense ones");
  const Shapes shapes = read_shapes(index);
  Config config;
  TRY(config.text, read_text(json, shapes, index));
  TRY(config.vision, read_vision(json["vision_config"], shapes));
  config.text.deepstack_layers = static_cast<std::int32_t>(config.vision.deepstack_layers.size());
  CHECK_OK(decoder::check(config.text));
  if (config.vision.out_hidden_size != config.text.hidden_size)
    return json.error(fmt::format("has a vision tower for hidden size {}, the text model has {}",
                                  config.vision.out_hidden_size, config.text.hidden_size));
  if (const ConfigValue token = json["image_token_id"]; token) {
    TRY(config.image_token, token.integer(0, kMostVocabulary));
  }
  TRY(config.end_tokens, read_end_tokens(json));
  config.tensors = decoder::tensors_of(config.text);
  config.tensors.merge(tensors_of(config.vision));
  return config;
}

Result<void> check_tensors(const Config& config, const files::WeightIndex& index) {
  for (const auto& [name, shape] : config.tensors)
    if (const auto found = index.require(name, shape); !found) return found.error();
  return {};
}

}  // namespace hearth::qwen3_vl
