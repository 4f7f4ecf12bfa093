// Which layers have experts, how many, and where their tensors are: as config.json says, or names
// and shapes.
#include <functional>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/files/weight_index.h"
#include "models/language/text_config.h"
#include "tests/unit/folder_for_test.h"

namespace hearth::language {
namespace {

using decoder::ExpertFiles;
using decoder::MlpKind;
using nlohmann::json;

TextRules rules_of(bool always_normalised) {
  TextRules rules;
  rules.qk_norm = true;
  rules.experts.always_normalised = always_normalised;
  return rules;
}

// `name`: of tests/data.
Result<decoder::Description> read(const std::string& name, const std::function<void(json&)>& change,
                                  const TextRules& rules = rules_of(false)) {
  auto files =
      models::open_folder(std::filesystem::path(HEARTH_SOURCE_DIR) / "tests" / "data" / name);
  std::erase_if(files, [](const auto& file) { return file.label == "oracle.safetensors"; });
  TRY(const files::WeightIndex index, files::WeightIndex::read(files));
  json config = models::read_fixture(name + "/config.json");
  change(config);
  files::ConfigValue value;
  if (!config.is_null()) {
    TRY(value, files::parse_json("config.json", config.dump()));
  }
  TRY(decoder::Description read, read_text(value, index, rules));
  for (const auto& [tensor, shape] : decoder::tensors_of(read))
    if (const auto found = index.require(tensor, shape); !found) return found.error();
  return read;
}

void as_it_is(json&) {}

std::string kinds(const decoder::Description& description) {
  std::string kinds;
  for (const auto& layer : description.layers) kinds += layer.mlp == MlpKind::kExperts ? 'E' : 'd';
  return kinds;
}

TEST(Experts, AreInTheLayersThatTheConfigSays) {
  const auto mixed = read("qwen3_moe/mixed_f32", as_it_is);
  ASSERT_TRUE(mixed) << mixed.error().what;
  EXPECT_EQ(kinds(*mixed), "dEdE");  // every second one
  const auto held = read("qwen3_vl_moe/held_f32", as_it_is);
  ASSERT_TRUE(held) << held.error().what;
  EXPECT_EQ(kinds(*held), "EdE");  // but mlp_only_layers
}

TEST(Experts, AreFoundInEveryKindOfFile) {
  const std::pair<const char*, ExpertFiles> cases[] = {
      {"qwen3_moe/experts_bf16", ExpertFiles::kSeparate},
      {"qwen3_vl_moe/held_f32", ExpertFiles::kFused},
      {"qwen3_vl_moe/hub_bf16", ExpertFiles::kFusedTransposed}};
  for (const auto& [name, files] : cases) {
    const auto found = read(name, as_it_is);
    ASSERT_TRUE(found) << found.error().what;
    const decoder::ExpertsDescription& experts = found->layers.back().experts;
    EXPECT_EQ(experts.files, files) << name;
    EXPECT_EQ(experts.count, 8) << name;
    EXPECT_EQ(experts.chosen, 2) << name;
  }
}

TEST(Experts, AreCountedByEitherKey) {
  const auto renamed = read("qwen3_moe/experts_bf16", [](json& c) {
    c.erase("num_experts");
    c["num_local_experts"] = 8;
  });
  ASSERT_TRUE(renamed) << renamed.error().what;
  EXPECT_EQ(renamed->layers[0].experts.count, 8);
}

TEST(Experts, AreNormalisedAsConfigAndFamilySay) {
  const auto with = [](const json& norm, bool always) {
    const auto found = read(
        "qwen3_moe/experts_bf16",
        [&](json& c) {
          c.erase("norm_topk_prob");
          if (!norm.is_null()) c["norm_topk_prob"] = norm;
        },
        rules_of(always));
    EXPECT_TRUE(found) << found.error().what;
    return (*found).layers[0].experts.normalised;
  };
  EXPECT_TRUE(with(true, false));
  EXPECT_FALSE(with(false, false));
  EXPECT_FALSE(with(nullptr, false));
  EXPECT_TRUE(with(false, true));
}

TEST(Experts, WithoutAConfigNamesAndShapesTell) {
  const auto found = read("qwen3_moe/mixed_f32", [](json& c) { c = nullptr; });
  ASSERT_TRUE(found) << found.error().what;
  EXPECT_EQ(kinds(*found), "dEdE");
  const decoder::ExpertsDescription& experts = found->layers[1].experts;
  EXPECT_EQ(experts.count, 8);
  EXPECT_EQ(experts.chosen, 8);  // as published models have it
  EXPECT_EQ(experts.intermediate_size, 16);
  EXPECT_TRUE(experts.normalised);
}

TEST(Experts, NumbersThatDoNotFitTheFilesAreRefused) {
  const std::pair<const char*, std::function<void(json&)>> changes[] = {
      {"more experts", [](json& c) { c["num_experts"] = c["num_local_experts"] = 9; }},
      {"no choice", [](json& c) { c.erase("num_experts_per_tok"); }},
      {"wider experts", [](json& c) { c["moe_intermediate_size"] = 25; }},
      {"a dense layer that is none", [](json& c) { c["mlp_only_layers"] = {0}; }},
      {"no step", [](json& c) { c["decoder_sparse_step"] = 0; }}};
  for (const auto& [what, change] : changes) {
    const auto refused = read("qwen3_moe/experts_bf16", change);
    ASSERT_FALSE(refused) << what;
    EXPECT_EQ(refused.error().code, Code::kBadModel) << what << ": " << refused.error().what;
  }
}

}  // namespace
}  // namespace hearth::language
