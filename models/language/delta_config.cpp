#include "models/language/delta_config.h"

#include <string>
#include <vector>

#include <fmt/format.h>

#include "models/language/config_numbers.h"

namespace hearth::language {
namespace {

using decoder::DeltaRule;
using files::ConfigValue;

constexpr std::int64_t kUsualInterval = 4;
// Of heads, of their channels and of taps; products of three stay within 32 bits.
constexpr std::int64_t kMost = 1024;

std::string name_in(std::size_t layer, std::string_view rest) {
  return fmt::format("model.layers.{}.linear_attn.{}", layer, rest);
}

bool has_rule(const files::WeightIndex& index, std::size_t layer) {
  return index.find(name_in(layer, "A_log")) != nullptr;
}

Result<bool> is_delta(const ConfigValue& type) {
  TRY(const std::string_view name, type.text());
  if (name == "linear_attention") return true;
  if (name == "full_attention") return false;
  return fail(Code::kUnsupported,
              fmt::format("{} is \"{}\"; hearth computes linear_attention and full_attention",
                          type.path(), name));
}

Result<std::vector<bool>> listed_layers(const ConfigValue& types, std::size_t layers) {
  std::vector<bool> delta;
  for (ConfigValue type = types.first(); type.exists(); type = type.next()) {
    TRY(const bool is, is_delta(type));
    delta.push_back(is);
  }
  if (delta.size() != layers)
    return types.error(fmt::format("has {} entries for {} layers", delta.size(), layers));
  return delta;
}

// By layer: whether it follows the rule.
Result<std::vector<bool>> find_layers(const ConfigValue& text, const files::WeightIndex& index,
                                      std::size_t layers) {
  if (text["layer_types"]) return listed_layers(text["layer_types"], layers);
  TRY(const std::int64_t interval,
      text["full_attention_interval"].integer_or(kUsualInterval, 1, kMostLayers));
  std::vector<bool> delta;
  for (std::size_t i = 0; i < layers; ++i)
    delta.push_back(text.exists() ? (i + 1) % static_cast<std::size_t>(interval) != 0
                                  : has_rule(index, i));
  return delta;
}

// Keys are as wide as values in all that is published; shapes alone tell their product only.
DeltaRule read_shapes(const files::WeightIndex& index, std::size_t layer) {
  const std::string convolution = name_in(layer, "conv1d.weight");
  DeltaRule read;
  read.value_heads = dimension(index, name_in(layer, "A_log"), 0);
  read.value_dim = dimension(index, name_in(layer, "norm.weight"), 0);
  read.taps = dimension(index, convolution, 2);
  read.key_dim = read.value_dim;
  const std::int64_t values = std::int64_t{read.value_heads} * read.value_dim;
  const std::int64_t keys = (dimension(index, convolution, 0) - values) / 2;
  if (keys > 0) read.key_heads = divided(static_cast<std::int32_t>(keys), read.key_dim);
  return read;
}

Result<DeltaRule> read_numbers(const ConfigValue& text, const files::WeightIndex& index,
                               std::size_t layer) {
  DeltaRule read = read_shapes(index, layer);
  TRY(read.key_heads, number(text["linear_num_key_heads"], read.key_heads, kMost));
  TRY(read.value_heads, number(text["linear_num_value_heads"], read.value_heads, kMost));
  TRY(read.key_dim, number(text["linear_key_head_dim"], read.key_dim, kMost));
  TRY(read.value_dim, number(text["linear_value_head_dim"], read.value_dim, kMost));
  TRY(read.taps, number(text["linear_conv_kernel_dim"], read.taps, kMost));
  return read;
}

void name_tensors(decoder::LayerDescription& layer, std::size_t number) {
  const auto name = [&](std::string_view rest) { return name_in(number, rest); };
  DeltaRule& delta = layer.delta;
  delta.input_qkv = name("in_proj_qkv.weight");
  delta.input_z = name("in_proj_z.weight");
  delta.input_b = name("in_proj_b.weight");
  delta.input_a = name("in_proj_a.weight");
  delta.convolution = name("conv1d.weight");
  delta.a_log = name("A_log");
  delta.dt_bias = name("dt_bias");
  delta.norm = name("norm.weight");
  layer.output = {name("out_proj.weight"), {}};
}

}  // namespace

bool has_delta_layers(const files::WeightIndex& index) {
  return has_rule(index, 0);
}

Result<void> read_delta_layers(const ConfigValue& text, const files::WeightIndex& index,
                               decoder::Description& description) {
  TRY(const std::vector<bool> delta, find_layers(text, index, description.layers.size()));
  for (std::size_t i = 0; i < delta.size(); ++i) {
    if (!delta[i]) continue;
    decoder::LayerDescription& layer = description.layers[i];
    layer.attention = decoder::AttentionKind::kDeltaRule;
    layer.qk_norm = layer.gated = false;
    layer.q_norm = layer.k_norm = {};
    layer.q = layer.k = layer.v = {};
    TRY(layer.delta, read_numbers(text, index, i));
    name_tensors(layer, i);
  }
  return {};
}

}  // namespace hearth::language
