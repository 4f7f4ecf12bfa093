#include "models/language/experts_config.h"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "models/language/config_numbers.h"

namespace hearth::language {
namespace {

using decoder::ExpertFiles;
using decoder::ExpertsDescription;
using files::ConfigValue;

constexpr std::int32_t kPublishedChosen = 8;
constexpr std::int64_t kMostExperts = 1 << 16;

std::string mlp_name(std::size_t layer, std::string_view rest) {
  return fmt::format("model.layers.{}.mlp.{}", layer, rest);
}

std::string router_name(std::size_t layer) {
  return mlp_name(layer, "gate.weight");
}

// Layers that have a router in the files.
std::vector<std::size_t> routed_layers(const files::WeightIndex& index, std::size_t layers) {
  std::vector<std::size_t> routed;
  for (std::size_t i = 0; i < layers; ++i)
    if (index.find(router_name(i)) != nullptr) routed.push_back(i);
  return routed;
}

// transformers: layer i has experts where (i + 1) % decoder_sparse_step is 0 and mlp_only_layers
// does not name it.
Result<std::vector<std::size_t>> configured_layers(const ConfigValue& text, std::size_t layers) {
  TRY(const std::int64_t step, text["decoder_sparse_step"].integer_or(1, 1, kMostLayers));
  std::vector<std::int64_t> dense;
  if (const ConfigValue only = text["mlp_only_layers"]; only) {
    TRY(dense, only.integers(0, kMostLayers));
  }
  std::vector<std::size_t> sparse;
  for (std::size_t i = 0; i < layers; ++i)
    if ((i + 1) % static_cast<std::size_t>(step) == 0 &&
        std::find(dense.begin(), dense.end(), static_cast<std::int64_t>(i)) == dense.end())
      sparse.push_back(i);
  return sparse;
}

// The channels of an expert as a layer's tensors tell them; 0 when they do not.
std::int32_t stored_intermediate(const files::WeightIndex& index, std::size_t layer,
                                 std::int32_t hidden) {
  const std::int32_t separate = dimension(index, mlp_name(layer, "experts.0.gate_proj.weight"), 0);
  if (separate > 0) return separate;
  const std::string down = mlp_name(layer, "experts.down_proj");
  const std::int32_t middle = dimension(index, down, 1);
  return middle == hidden ? dimension(index, down, 2) : middle;
}

ExpertFiles files_of(const files::WeightIndex& index, std::size_t layer,
                     const ExpertsDescription& experts, std::int32_t hidden) {
  const std::string down = mlp_name(layer, "experts.down_proj");
  const std::string gate_up = mlp_name(layer, "experts.gate_up_proj");
  if (index.find(down) == nullptr) return ExpertFiles::kSeparate;
  // Where an expert is as wide as the model only the other tensor tells.
  const bool transposed = experts.intermediate_size == hidden
                              ? dimension(index, gate_up, 1) == hidden
                              : dimension(index, down, 1) == experts.intermediate_size;
  return transposed ? ExpertFiles::kFusedTransposed : ExpertFiles::kFused;
}

void name_experts(ExpertsDescription& experts, std::size_t layer) {
  experts.router = router_name(layer);
  if (experts.files != ExpertFiles::kSeparate) {
    experts.gate_up = mlp_name(layer, "experts.gate_up_proj");
    experts.down = mlp_name(layer, "experts.down_proj");
    return;
  }
  for (std::int32_t e = 0; e < experts.count; ++e) {
    const auto name = [&](std::string_view part) {
      return mlp_name(layer, fmt::format("experts.{}.{}_proj.weight", e, part));
    };
    experts.separate.push_back({name("gate"), name("up"), name("down")});
  }
}

// Errors: bad_model when nothing tells how large it is.
Result<void> read_shared(const ConfigValue& text, const files::WeightIndex& index,
                         std::size_t layer, ExpertsDescription& experts) {
  const auto name = [&](std::string_view part) {
    return mlp_name(layer, fmt::format("shared_expert.{}_proj.weight", part));
  };
  experts.shared = {name("gate"), name("up"), name("down")};
  experts.shared_gate = mlp_name(layer, "shared_expert_gate.weight");
  TRY(experts.shared_intermediate_size,
      number(text["shared_expert_intermediate_size"], dimension(index, experts.shared.gate, 0),
             kMostWidth));
  return {};
}

// Numbers that all layers share. `layer`: one that has experts.
Result<ExpertsDescription> read_numbers(const ConfigValue& text, const files::WeightIndex& index,
                                        const ExpertRules& rules, std::size_t layer,
                                        std::int32_t hidden) {
  const ConfigValue count = text["num_experts"] ? text["num_experts"] : text["num_local_experts"];
  ExpertsDescription read;
  TRY(read.count, number(count, dimension(index, router_name(layer), 0), kMostExperts));
  TRY(read.chosen,
      number(text["num_experts_per_tok"], text.exists() ? 0 : kPublishedChosen, kMostExperts));
  TRY(read.intermediate_size,
      number(text["moe_intermediate_size"], stored_intermediate(index, layer, hidden), kMostWidth));
  TRY(const bool declared,
      text["norm_topk_prob"].boolean_or(!text.exists() || rules.assumed_normalised));
  read.normalised = declared || rules.always_normalised;
  return read;
}

}  // namespace

Result<void> read_experts(const ConfigValue& text, const files::WeightIndex& index,
                          const ExpertRules& rules, decoder::Description& description) {
  std::vector<std::size_t> layers = routed_layers(index, description.layers.size());
  if (layers.empty()) return {};
  if (text.exists()) {
    TRY(layers, configured_layers(text, description.layers.size()));
  }
  const std::int32_t hidden = description.hidden_size;
  for (const std::size_t i : layers) {
    decoder::LayerDescription& layer = description.layers[i];
    layer.mlp = decoder::MlpKind::kExperts;
    TRY(layer.experts, read_numbers(text, index, rules, i, hidden));
    layer.experts.files = files_of(index, i, layer.experts, hidden);
    name_experts(layer.experts, i);
    if (rules.shared) CHECK_OK(read_shared(text, index, i, layer.experts));
  }
  return {};
}

}  // namespace hearth::language
