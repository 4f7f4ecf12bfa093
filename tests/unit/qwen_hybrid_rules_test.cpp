// Which layers of a Qwen3.5 follow the delta rule and of what numbers, from config.json or from
// names and shapes; and what files that do not fit are told.
#include <functional>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/decoder/recurrent_states.h"
#include "models/language/text_config.h"
#include "models/qwen3_5/config.h"
#include "tests/unit/folder_for_test.h"

namespace hearth::qwen3_5 {
namespace {

using nlohmann::json;

models::ModelFiles case_files(const std::string& name) {
  auto files =
      models::open_folder(std::filesystem::path(HEARTH_SOURCE_DIR) / "tests" / "data" / name);
  std::erase_if(files, [](const auto& file) { return file.label == "oracle.safetensors"; });
  return files;
}

Result<Config> read(const std::string& name, const std::function<void(json&)>& change) {
  TRY(const files::WeightIndex index, files::WeightIndex::read(case_files(name)));
  EXPECT_TRUE(has_our_names(index));
  json config = models::read_fixture(name + "/config.json");
  change(config);
  files::ConfigValue value;
  if (!config.is_null()) {
    TRY(value, files::parse_json("config.json", config.dump()));
  }
  TRY(Config read, read_config(value, index));
  for (const auto& [tensor, shape] : read.tensors)
    if (const auto found = index.require(tensor, shape); !found) return found.error();
  return read;
}

void as_it_is(json&) {}

std::string kinds(const decoder::Description& text) {
  std::string kinds;
  for (const auto& layer : text.layers) kinds += layer.is_recurrent() ? 'L' : 'F';
  return kinds;
}

TEST(HybridRules, LayersAreOfTheListedKinds) {
  const auto every_fourth = read("qwen3_5/tied_bf16", as_it_is);
  ASSERT_TRUE(every_fourth) << every_fourth.error().what;
  EXPECT_EQ(kinds(every_fourth->text), "LLLF");
  const auto every_second = read("qwen3_5/untied_f32", as_it_is);
  ASSERT_TRUE(every_second) << every_second.error().what;
  EXPECT_EQ(kinds(every_second->text), "LFLF");
}

TEST(HybridRules, WithoutAListTheIntervalTells) {
  const auto second = read("qwen3_5/untied_f32", [](json& c) {
    c["text_config"].erase("layer_types");
    c["text_config"]["full_attention_interval"] = 2;
  });
  ASSERT_TRUE(second) << second.error().what;
  EXPECT_EQ(kinds(second->text), "LFLF");
  const auto usual =
      read("qwen3_5/tied_bf16", [](json& c) { c["text_config"].erase("layer_types"); });
  ASSERT_TRUE(usual) << usual.error().what;
  EXPECT_EQ(kinds(usual->text), "LLLF");
}

TEST(HybridRules, WithoutAConfigNamesAndShapesTell) {
  const auto told = read("qwen3_5_moe/fused_bf16", as_it_is);
  ASSERT_TRUE(told) << told.error().what;
  const files::WeightIndex index = *files::WeightIndex::read(case_files("qwen3_5_moe/fused_bf16"));
  const auto found = read_config({}, index);
  // Sections are those of published sizes, which these tiny heads have not.
  EXPECT_FALSE(found);
  auto text = language::read_text({}, index,
                                  {.qk_norm = true, .hybrid = true, .experts = {.shared = true}});
  ASSERT_TRUE(text) << text.error().what;
  EXPECT_EQ(kinds(*text), "LLLF");
  EXPECT_EQ(text->layers[3].heads, told->text.layers[3].heads);
  EXPECT_EQ(text->layers[3].kv_heads, told->text.layers[3].kv_heads);
  EXPECT_EQ(text->layers[3].head_dim, told->text.layers[3].head_dim);
  EXPECT_EQ(text->delta_rule()->key_heads, 2);
  EXPECT_EQ(text->delta_rule()->value_heads, 4);
  EXPECT_EQ(text->delta_rule()->taps, 4);
  EXPECT_EQ(text->rotated(), 8);
  EXPECT_EQ(text->layers[0].experts.shared_intermediate_size, 40);
  EXPECT_TRUE(text->norms_less_one);
}

TEST(HybridRules, NumbersThatDoNotFitAreRefusedByName) {
  const std::pair<const char*, std::function<void(json&)>> changes[] = {
      {"layer_types", [](json& c) { c["text_config"]["layer_types"].erase(0); }},
      {"layer_types[0]", [](json& c) { c["text_config"]["layer_types"][0] = "sliding_attention"; }},
      {"linear_num_key_heads", [](json& c) { c["text_config"]["linear_num_key_heads"] = 0; }},
      {"linear_attn.conv1d.weight", [](json& c) { c["text_config"]["linear_key_head_dim"] = 8; }},
      {"3 key heads", [](json& c) { c["text_config"]["linear_num_key_heads"] = 3; }},
      {"attn_output_gate", [](json& c) { c["text_config"]["attn_output_gate"] = false; }},
      {"partial_rotary_factor",
       [](json& c) { c["text_config"]["rope_parameters"]["partial_rotary_factor"] = 1.5; }},
      {"sections",
       [](json& c) { c["text_config"]["rope_parameters"]["partial_rotary_factor"] = 0.5; }},
      {"taps", [](json& c) { c["text_config"]["linear_conv_kernel_dim"] = 17; }},
      {"no layer has attention",
       [](json& c) {
         for (auto& type : c["text_config"]["layer_types"]) type = "linear_attention";
       }},
  };
  for (const auto& [named, change] : changes) {
    const auto refused = read("qwen3_5/tied_bf16", change);
    ASSERT_FALSE(refused) << named;
    EXPECT_NE(refused.error().what.find(named), std::string::npos) << refused.error().what;
  }
}

TEST(HybridRules, ATensorThatIsMissingOrOfAnotherShapeIsNamedWithItsFile) {
  const auto shape =
      read("qwen3_5/tied_bf16", [](json& c) { c["text_config"]["linear_conv_kernel_dim"] = 3; });
  ASSERT_FALSE(shape);
  EXPECT_EQ(shape.error().code, Code::kBadModel);
  EXPECT_NE(shape.error().what.find("linear_attn.conv1d.weight"), std::string::npos);
  EXPECT_NE(shape.error().what.find("model.safetensors"), std::string::npos);
  const auto missing = read("qwen3_5/untied_f32", [](json& c) {
    c["text_config"]["layer_types"][1] = "linear_attention";
  });
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().what.find("model.layers.1.linear_attn."), std::string::npos)
      << missing.error().what;
}

TEST(HybridRules, AFlatConfigOfTheTextIsRead) {
  const auto text = read("qwen3_5/untied_f32", [](json& c) {
    json flat = c["text_config"];
    flat["vision_config"] = c["vision_config"];
    c = flat;
    c["model_type"] = "qwen3_5_text";
  });
  ASSERT_TRUE(text) << text.error().what;
  EXPECT_EQ(kinds(text->text), "LFLF");
}

TEST(HybridRules, OnlyLayersWithAttentionTakePages) {
  const auto config = read("qwen3_5/tied_bf16", as_it_is);
  ASSERT_TRUE(config);
  // One of four layers: two key heads of 32, keys and values.
  EXPECT_EQ(decoder::kv_bytes_per_token(config->text, 2), 2U * 2 * 32 * 2);
  // The other three: windows of 3 x 128 and states of 4 x 16 x 16, in fp32, for each slot.
  EXPECT_EQ(decoder::RecurrentStates::bytes(config->text, 2), 3U * 2 * (3 * 128 + 4 * 16 * 16) * 4);
}

}  // namespace
}  // namespace hearth::qwen3_5
