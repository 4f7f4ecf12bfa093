// Each family's files in each layout of names, in one file and in shards: the same weights. And
// what is damaged in them: an error that names tensor and file, never a model.
#include <algorithm>
#include <cstring>

#include <nlohmann/json.hpp>

#include "models/language/recognise.h"
#include "models/weights/weights.h"
#include "tests/unit/engine_qwen_network_for_test.h"
#include "tests/unit/engine_qwen_stored_for_test.h"
#include "tests/unit/model_files_for_test.h"

namespace hearth::language {
namespace {

constexpr const char* kLayoutCases[] = {"tied_bf16",
                                        "untied_shards_f32",
                                        "qwen2_5_vl/tied_bf16",
                                        "qwen2_5_vl/untied_hub_f32",
                                        "qwen2/tied_bf16",
                                        "qwen2/untied_f32",
                                        "qwen3/tied_bf16",
                                        "qwen3/untied_f32",
                                        "qwen3_moe/experts_bf16",
                                        "qwen3_moe/mixed_f32",
                                        "qwen3_vl_moe/hub_bf16",
                                        "qwen3_vl_moe/held_f32"};

struct Layouts : testing::TestWithParam<const char*> {
  const std::string name = GetParam();
  const FileTensors tensors = read_case(name);
  const std::string config = config_of(name);

  std::vector<std::byte> arena_of(const models::ModelFiles& files) const {
    const auto index = must(files::WeightIndex::read(files));
    const Blueprint blueprint = must(read_blueprint(family_of(name), files, index));
    const std::vector<weights::Tensor> none;
    const auto plan =
        must(weights::make_plan(index, {.description = blueprint.text,
                                        .before = blueprint.tower ? blueprint.tower->tensors : none,
                                        .wanted = {},
                                        .scales = &blueprint.scales}));
    auto arena = must(weights::host_arena(plan.bytes));
    const std::byte* base = arena->address();
    const auto loaded = must(weights::load(index, plan, {}, std::move(arena)));
    return {base, base + plan.bytes};
  }
  Error refusal(const FileTensors& changed) const {
    const auto loaded = models::load(files_of(name, changed, config), {});
    EXPECT_FALSE(loaded);
    return loaded ? Error{} : loaded.error();
  }
  // A few of the tensors, of all kinds, but those that tell kinds of files apart: without them it
  // is another kind, in which other tensors are missing.
  std::vector<std::string> some() const {
    std::vector<std::string> names;
    std::size_t number = 0;
    for (const auto& [tensor, content] : tensors) {
      const bool tells =
          tensor == "lm_head.weight" || tensor.ends_with("layers.0.self_attn.q_norm.weight") ||
          tensor.ends_with(".experts.gate_up_proj") || tensor.ends_with(".experts.down_proj");
      if (number++ % 5 == 0 && !tells) names.push_back(tensor);
    }
    return names;
  }
};

std::string renamed(const std::string& name) {
  constexpr std::string_view kLanguage = "model.language_model.", kVisual = "model.visual.";
  if (name.starts_with(kLanguage)) return "model." + name.substr(kLanguage.size());
  if (name.starts_with(kVisual)) return "visual." + name.substr(kVisual.size());
  if (name.starts_with("visual.")) return "model." + name;
  if (name.starts_with("model.")) return std::string(kLanguage) + name.substr(6);
  return name;
}

TEST_P(Layouts, TheOtherNamesAreTheSameWeights) {
  FileTensors other;
  for (const auto& [tensor, content] : tensors) other[renamed(tensor)] = content;
  ASSERT_NE(other.contains("model.norm.weight"), tensors.contains("model.norm.weight"));
  EXPECT_EQ(arena_of(files_of(name, other, config)), arena_of(case_files(name)));
}

TEST_P(Layouts, ShardsAreTheSameWeights) {
  FileTensors shards[3];
  nlohmann::json map;
  std::size_t number = 0;
  const auto label = [](std::size_t shard) {
    return "model-0000" + std::to_string(shard + 1) + "-of-00003.safetensors";
  };
  for (const auto& [tensor, content] : tensors) {
    shards[number % 3][tensor] = content;
    map[tensor] = label(number++ % 3);
  }
  models::ModelFiles files = files_beside(name);
  files.push_back(models::file_with("config.json", config));
  files.push_back(models::file_with("model.safetensors.index.json",
                                    nlohmann::json{{"weight_map", map}}.dump()));
  for (std::size_t shard = 0; shard < 3; ++shard)
    files.push_back(models::file_with(label(shard), file_of(shards[shard])));
  EXPECT_EQ(arena_of(files), arena_of(case_files(name)));
  for (std::size_t shard = 0; shard < 3; ++shard) {
    const auto loaded = models::load(without(files, label(shard)), {});
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, Code::kBadModel);
    EXPECT_NE(loaded.error().what.find(label(shard)), std::string::npos) << loaded.error().what;
  }
}

TEST_P(Layouts, AMissingTensorIsNamed) {
  for (const std::string& tensor : some()) {
    FileTensors changed = tensors;
    changed.erase(tensor);
    const Error error = refusal(changed);
    EXPECT_EQ(error.code, Code::kBadModel) << tensor;
    EXPECT_NE(error.what.find(files::unified_name(tensor)), std::string::npos)
        << tensor << ": " << error.what;
    EXPECT_NE(error.what.find("model.safetensors"), std::string::npos) << error.what;
  }
}

TEST_P(Layouts, AWrongShapeIsNamed) {
  for (const std::string& tensor : some()) {
    FileTensors changed = tensors;
    changed.at(tensor).shape.push_back(1);
    const Error error = refusal(changed);
    EXPECT_EQ(error.code, Code::kBadModel) << tensor;
    EXPECT_NE(error.what.find(tensor), std::string::npos) << tensor << ": " << error.what;
    EXPECT_NE(error.what.find("model.safetensors"), std::string::npos) << error.what;
  }
}

TEST_P(Layouts, ATensorUnderBothNamesIsRefused) {
  const std::string tensor = some().back();
  FileTensors changed = tensors;
  changed[renamed(tensor)] = changed.at(tensor);
  const Error error = refusal(changed);
  EXPECT_EQ(error.code, Code::kBadModel);
  EXPECT_NE(error.what.find("twice"), std::string::npos) << error.what;
  EXPECT_NE(error.what.find(tensor), std::string::npos) << error.what;
}

TEST_P(Layouts, ATruncatedFileIsNamed) {
  const std::string file = file_of(tensors);
  models::ModelFiles files = files_beside(name);
  files.push_back(models::file_with("config.json", config));
  files.push_back(
      models::file_with("model.safetensors", std::string_view(file).substr(0, file.size() - 1)));
  const auto loaded = models::load(files, {});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Code::kBadModel);
  EXPECT_NE(loaded.error().what.find("model.safetensors"), std::string::npos);
}

TEST_P(Layouts, ATowerThatIsMissingIsNamed) {
  FileTensors changed = tensors;
  std::erase_if(changed,
                [](const auto& entry) { return entry.first.find("visual.") != std::string::npos; });
  if (changed.size() == tensors.size()) return;  // a family without one
  const Error error = refusal(changed);
  EXPECT_EQ(error.code, Code::kBadModel);
  EXPECT_NE(error.what.find("visual."), std::string::npos) << error.what;
}

INSTANTIATE_TEST_SUITE_P(Qwen, Layouts, testing::ValuesIn(kLayoutCases), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
});

}  // namespace
}  // namespace hearth::language
