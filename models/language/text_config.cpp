#include "models/language/text_config.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "models/files/model_file.h"
#include "models/language/config_numbers.h"
#include "models/language/delta_config.h"

namespace hearth::language {
namespace {

using decoder::LayerDescription;
using files::ConfigValue;

constexpr std::string_view kFirstLayer = "model.layers.0.";
constexpr std::string_view kEmbedding = "model.embed_tokens.weight";
constexpr std::string_view kHead = "lm_head.weight";

// Published sizes up to 4B share head and embedding, larger ones do not.
constexpr std::int32_t kLargestTiedHiddenSize = 2560;
// Of a head of Qwen3.5, unless config.json says otherwise.
constexpr double kRotatedShare = 0.25;
// Without norms that tell, heads are this wide, but for the smallest model's.
constexpr std::int32_t kUsualHeadDim = 128, kSmallestHeadDim = 64, kSmallestHiddenSize = 896;

// What shapes alone tell; 0 where a tensor is missing.
struct Shapes {
  LayerDescription layer;
  std::int32_t layers = 0;
};

std::string in_first_layer(std::string_view name) {
  return fmt::format("{}{}", kFirstLayer, name);
}

bool has(const files::WeightIndex& index, std::string_view name) {
  return index.find(in_first_layer(name)) != nullptr;
}

// Of the first layer that has attention, which need not be the first of all.
std::int32_t attention_rows(const files::WeightIndex& index, std::string_view name,
                            std::int32_t layers) {
  std::int32_t rows = 0;
  for (std::int32_t i = 0; i < layers && rows == 0; ++i)
    rows = dimension(index, fmt::format("model.layers.{}.self_attn.{}", i, name), 0);
  return rows;
}

Shapes read_shapes(const files::WeightIndex& index, const TextRules& rules) {
  Shapes shapes;
  shapes.layers = count_tensors(index, "model.layers.", ".input_layernorm.weight");
  const auto rows = [&](std::string_view name) {
    return attention_rows(index, name, shapes.layers);
  };
  LayerDescription& layer = shapes.layer;
  layer.qk_norm = rules.qk_norm;
  const bool smallest = dimension(index, kEmbedding, 1) == kSmallestHiddenSize;
  layer.gated = rules.hybrid;
  layer.head_dim =
      rules.qk_norm ? rows("q_norm.weight") : (smallest ? kSmallestHeadDim : kUsualHeadDim);
  layer.heads = divided(rows("q_proj.weight"), layer.head_dim * (layer.gated ? 2 : 1));
  layer.kv_heads = divided(rows("k_proj.weight"), layer.head_dim);
  // Where all layers have experts nothing needs it.
  layer.intermediate_size = has(index, "mlp.gate.weight")
                                ? 1
                                : dimension(index, in_first_layer("mlp.gate_proj.weight"), 0);
  return shapes;
}

// --- rope ---------------------------------------------------------------------------------------

Result<void> expect_plain_rope(const ConfigValue& rope, const TextRules& rules) {
  const ConfigValue type = rope["rope_type"] ? rope["rope_type"] : rope["type"];
  TRY(const std::string_view name, type.text_or("default"));
  if (name != "default" && name != "mrope")
    return fail(Code::kUnsupported,
                fmt::format("{} is \"{}\"; hearth computes unscaled rope only", type.path(), name));
  const ConfigValue layout = rope["mrope_interleaved"];
  TRY(const bool interleaved, layout.boolean_or(rules.interleaved));
  if (interleaved == rules.interleaved) return {};
  return fail(Code::kUnsupported,
              fmt::format("{} is {}; this family {} its sections", layout.path(), interleaved,
                          interleaved ? "does not interleave" : "interleaves"));
}

Result<decoder::Rope> read_rope(const ConfigValue& text, const TextRules& rules) {
  const ConfigValue rope = text["rope_parameters"] ? text["rope_parameters"] : text["rope_scaling"];
  CHECK_OK(expect_plain_rope(rope, rules));
  decoder::Rope read;
  const ConfigValue theta = rope["rope_theta"] ? rope["rope_theta"] : text["rope_theta"];
  TRY(read.theta, theta.number_or(text.exists() ? rules.assumed_theta : rules.published_theta));
  read.interleaved = rules.interleaved;
  read.sections = rules.sections;
  const ConfigValue sections = rope["mrope_section"];
  if (!sections || rules.sections == decoder::Rope().sections) return read;
  TRY(const std::vector<std::int64_t> found, sections.integers(0, kMostWidth));
  if (found.size() != read.sections.size()) return sections.error("has not three entries");
  std::transform(found.begin(), found.end(), read.sections.begin(),
                 [](std::int64_t section) { return static_cast<std::int32_t>(section); });
  return read;
}

// Channels of a head. Errors: bad_model.
Result<std::int32_t> read_rotated(const ConfigValue& text, std::int32_t head_dim) {
  const ConfigValue rope = text["rope_parameters"] ? text["rope_parameters"] : text["rope_scaling"];
  const ConfigValue value =
      rope["partial_rotary_factor"] ? rope["partial_rotary_factor"] : text["partial_rotary_factor"];
  TRY(const double share, value.number_or(kRotatedShare));
  if (!(share > 0.0 && share <= 1.0)) return value.error("is no share of a head");
  return static_cast<std::int32_t>(share * head_dim);
}

// --- layers -------------------------------------------------------------------------------------

Result<std::int32_t> read_head_dim(const ConfigValue& text, const LayerDescription& layer,
                                   std::int32_t hidden_size) {
  const ConfigValue value = text["head_dim"];
  // A config.json that does not say divides the hidden size among the heads.
  const bool divides = !value && !layer.qk_norm && text["num_attention_heads"];
  return number(value, divides ? divided(hidden_size, layer.heads) : layer.head_dim, kMostWidth);
}

Result<LayerDescription> read_layer(const ConfigValue& text, const Shapes& shapes,
                                    std::int32_t hidden_size) {
  CHECK_OK(expect(text["hidden_act"], "silu"));
  LayerDescription layer = shapes.layer;
  TRY(layer.heads, number(text["num_attention_heads"], layer.heads, kMostWidth));
  TRY(layer.kv_heads, number(text["num_key_value_heads"], layer.kv_heads, kMostWidth));
  TRY(layer.head_dim, read_head_dim(text, layer, hidden_size));
  TRY(layer.intermediate_size,
      number(text["intermediate_size"], layer.intermediate_size, kMostWidth));
  return layer;
}

struct Biases {
  bool qkv = false;
  bool output = false;
};

void name_layer(LayerDescription& layer, std::int32_t index, Biases biases) {
  const auto name = [&](std::string_view rest) {
    return fmt::format("model.layers.{}.{}", index, rest);
  };
  const auto attention = [&](std::string_view part, bool bias) {
    const std::string stem = name(fmt::format("self_attn.{}_proj", part));
    return decoder::LinearNames{stem + ".weight", bias ? stem + ".bias" : std::string()};
  };
  const auto mlp = [&](std::string_view part) {
    return decoder::LinearNames{name(fmt::format("mlp.{}_proj.weight", part)), {}};
  };
  layer.attention_norm = name("input_layernorm.weight");
  layer.mlp_norm = name("post_attention_layernorm.weight");
  if (layer.qk_norm) {
    layer.q_norm = name("self_attn.q_norm.weight");
    layer.k_norm = name("self_attn.k_norm.weight");
  }
  layer.q = attention("q", biases.qkv);
  layer.k = attention("k", biases.qkv);
  layer.v = attention("v", biases.qkv);
  layer.output = attention("o", biases.output);
  layer.gate = mlp("gate");
  layer.up = mlp("up");
  layer.down = mlp("down");
}

Result<Biases> read_biases(const ConfigValue& text, const files::WeightIndex& index,
                           const TextRules& rules) {
  if (rules.qkv_biases) return Biases{true, false};
  TRY(const bool all, text["attention_bias"].boolean_or(has_qkv_biases(index)));
  return Biases{all, all};
}

// Windows that no layer has are none.
Result<void> expect_full_attention(const ConfigValue& text, std::int32_t layers) {
  TRY(const bool windows, text["use_sliding_window"].boolean_or(false));
  if (!windows) return {};
  TRY(const std::int64_t from, text["max_window_layers"].integer_or(0, 0));
  if (from >= layers) return {};
  return fail(Code::kUnsupported,
              text["use_sliding_window"].path() +
                  " is true; hearth computes attention over the whole context only");
}

Result<void> name_layers(const ConfigValue& text, const files::WeightIndex& index,
                         const TextRules& rules, decoder::Description& description) {
  const Shapes shapes = read_shapes(index, rules);
  TRY(const LayerDescription layer, read_layer(text, shapes, description.hidden_size));
  TRY(const std::int32_t layers, number(text["num_hidden_layers"], shapes.layers, kMostLayers));
  CHECK_OK(expect_full_attention(text, layers));
  TRY(const Biases biases, read_biases(text, index, rules));
  for (std::int32_t i = 0; i < layers; ++i) {
    description.layers.push_back(layer);
    name_layer(description.layers.back(), i, biases);
  }
  return {};
}

Result<void> make_hybrid(const ConfigValue& text, const files::WeightIndex& index,
                         decoder::Description& description) {
  const ConfigValue gate = text["attn_output_gate"];
  TRY(const bool gated, gate.boolean_or(true));
  if (!gated)
    return fail(Code::kUnsupported,
                gate.path() + " is false; hearth computes gated attention here");
  if (description.layers.empty()) return {};
  description.norms_less_one = true;
  TRY(description.rope.rotated, read_rotated(text, description.layers.front().head_dim));
  return read_delta_layers(text, index, description);
}

// --- head ---------------------------------------------------------------------------------------

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
  TRY(const std::optional<bool> declared, declared_tied(json, text));
  const bool stored = index.find(kHead) != nullptr;
  const bool small = description.hidden_size <= kLargestTiedHiddenSize;
  const bool tied = declared.value_or(!stored && small);
  if (stored && !tied) description.head.weight = kHead;
  description.encoder_only = !stored && !tied;
  return {};
}

}  // namespace

Result<ConfigValue> read_config_json(const models::ModelFiles& files) {
  if (files::find_file(files, "config.json") == nullptr) return ConfigValue();
  return files::read_json(files, "config.json");
}

bool has_qk_norm(const files::WeightIndex& index) {
  return has(index, "self_attn.q_norm.weight");
}

bool has_qkv_biases(const files::WeightIndex& index) {
  return has(index, "self_attn.q_proj.bias");
}

Result<decoder::Description> read_text(const ConfigValue& json, const files::WeightIndex& index,
                                       const TextRules& rules) {
  const ConfigValue text = json["text_config"] ? json["text_config"] : json;
  const std::int32_t vocabulary = dimension(index, kEmbedding, 0);
  const std::int32_t hidden = dimension(index, kEmbedding, 1);
  decoder::Description read;
  TRY(read.hidden_size, number(text["hidden_size"], hidden, kMostWidth));
  TRY(read.vocabulary_size, number(text["vocab_size"], vocabulary, kMostVocabulary));
  TRY(read.context_tokens,
      number(text["max_position_embeddings"],
             json.exists() ? rules.assumed_context_tokens : rules.published_context_tokens,
             kMostContext));
  TRY(read.norm_epsilon, text["rms_norm_eps"].number_or(1e-6));
  TRY(read.rope, read_rope(text, rules));
  read.embedding = kEmbedding;
  read.final_norm = "model.norm.weight";
  CHECK_OK(name_layers(text, index, rules, read));
  if (rules.hybrid) CHECK_OK(make_hybrid(text, index, read));
  CHECK_OK(read_experts(text, index, rules.experts, read));
  CHECK_OK(name_head(json, text, index, read));
  return read;
}

Error cannot_generate(const decoder::Description& description) {
  return fail(Code::kUnsupported,
              fmt::format("these files are encoder-only and cannot generate: {} is missing, and a "
                          "model of hidden size {} does not share it with the embedding",
                          kHead, description.hidden_size),
              "Use the whole checkpoint, as published for text generation; hidden states can be "
              "had of these files.");
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

}  // namespace hearth::language
