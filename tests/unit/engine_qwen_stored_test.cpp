// Checkpoints whose weights were rounded to 8 bits before they were stored: each way of storing
// them gives the numbers that it stands for, to the bit, and what is damaged is refused by name.
#include <algorithm>
#include <cstring>
#include <functional>
#include <tuple>

#include "models/kernels/bfloat16.h"
#include "models/kernels/formats.h"
#include "models/language/recognise.h"
#include "models/weights/weights.h"
#include "tests/unit/engine_qwen_network_for_test.h"
#include "tests/unit/engine_qwen_stored_for_test.h"
#include "tests/unit/engine_requests_for_test.h"
#include "tests/unit/model_files_for_test.h"

namespace hearth::language {
namespace {

using testing::Combine;
using testing::Values;
using testing::ValuesIn;

// Weights in an arena that can be looked at.
struct Placed {
  std::unique_ptr<files::WeightIndex> index;
  std::unique_ptr<Blueprint> blueprint;
  weights::Plan plan;
  const std::byte* base = nullptr;
  std::shared_ptr<const weights::Weights> weights;
};

Placed place(const std::string& name, const models::ModelFiles& files, const char* dtype,
             const char* head = "auto") {
  Placed placed;
  placed.index = std::make_unique<files::WeightIndex>(must(files::WeightIndex::read(files)));
  placed.blueprint =
      std::make_unique<Blueprint>(must(read_blueprint(family_of(name), files, *placed.index)));
  const std::vector<weights::Tensor> none;
  const auto& tower = placed.blueprint->tower;
  placed.plan = must(weights::make_plan(*placed.index, {.description = placed.blueprint->text,
                                                        .before = tower ? tower->tensors : none,
                                                        .wanted = {dtype, head},
                                                        .scales = &placed.blueprint->scales}));
  auto arena = must(weights::host_arena(placed.plan.bytes));
  placed.base = arena->address();
  placed.weights = must(weights::load(*placed.index, placed.plan, {}, std::move(arena)));
  return placed;
}

struct StoredWeights : testing::TestWithParam<std::tuple<const char*, Way>> {
  const std::string name = std::get<0>(GetParam());
  const Way way = std::get<1>(GetParam());
  const StoredFiles stored = store(name, way);
  const models::ModelFiles rounded = files_of(name, stored.rounded, stored.config, stored.metadata);
  const models::ModelFiles exact = files_of(name, stored.exact, config_without_marks());

  std::string config_without_marks() const { return store(name, Way::kPlain).config; }
};

TEST_P(StoredWeights, AreTheNumbersThatTheyStandFor) {
  ASSERT_GT(stored.count, 0U);
  for (const char* dtype : {"float32", "bfloat16", "int4"}) {
    // A head in int8 codes would stay as it is.
    const Placed found = place(name, rounded, dtype, "bfloat16");
    const Placed wanted = place(name, exact, dtype, "bfloat16");
    ASSERT_EQ(found.plan.bytes, wanted.plan.bytes);
    EXPECT_EQ(std::memcmp(found.base, wanted.base, found.plan.bytes), 0) << dtype;
  }
}

bool can_stay(Way way) {
  return way != Way::kBlocks && way != Way::kScaledE5;
}

// Of the placements that a plan has, what each weight is.
TEST_P(StoredWeights, StayInTheirCodesWithAutoWhereAFormatHoldsThem) {
  const Placed found = place(name, rounded, "auto"), wanted = place(name, exact, "float32");
  const bool int8 = way == Way::kInt8 || way == Way::kInt8Rows;
  EXPECT_EQ(found.plan.precision.name, !can_stay(way) ? "bfloat16" : int8 ? "int8" : "float8");
  ASSERT_EQ(found.plan.placements.size(), wanted.plan.placements.size());
  std::size_t kept = 0;
  for (std::size_t i = 0; i < found.plan.placements.size(); ++i) {
    const weights::Placement& placement = found.plan.placements[i];
    const HearthMatrix matrix = weights::matrix_in(placement, found.base);
    const HearthMatrix numbers = weights::matrix_in(wanted.plan.placements[i], wanted.base);
    kept += placement.keeps_codes ? placement.sources.size() : 0;
    EXPECT_EQ(placement.keeps_codes, placement.is_packed());  // nothing is rounded anew
    for (std::int64_t row = 0; row < matrix.out_features; ++row)
      for (std::int64_t column = 0; column < matrix.in_features; ++column) {
        float number = kernels::weight_at(numbers, row, column);
        if (placement.format == HEARTH_FORMAT_BF16)
          number = kernels::to_float(kernels::to_bfloat16(number));
        ASSERT_EQ(kernels::weight_at(matrix, row, column), number)
            << i << ": " << row << ", " << column;
      }
  }
  EXPECT_EQ(kept, can_stay(way) ? stored.count : 0U);
}

TEST_P(StoredWeights, MakeAModelThatAnswers) {
  const auto detected = models::detect(rounded);
  ASSERT_TRUE(detected) << detected.error().what;
  const bool widens = std::any_of(
      detected->warnings.begin(), detected->warnings.end(),
      [](const std::string& warning) { return warning.find("bfloat16") != std::string::npos; });
  EXPECT_EQ(widens, !can_stay(way));
  models::LoadedModel model(rounded, "auto");
  const auto heard = model.answer(models::ask("And this?"));
  ASSERT_TRUE(heard->reply) << heard->error->what;
  EXPECT_FALSE(heard->reply->token_ids.empty());
}

std::string name_of_way(const testing::TestParamInfo<StoredWeights::ParamType>& info) {
  std::string name = std::get<0>(info.param);
  std::replace(name.begin(), name.end(), '/', '_');
  return name + "_" + name_of(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Qwen, StoredWeights,
                         Combine(Values("tied_bf16", "untied_shards_f32",
                                        "qwen2_5_vl/untied_hub_f32", "qwen2_5_vl/tied_bf16",
                                        "qwen2/untied_f32", "qwen3/tied_bf16",
                                        "qwen3_moe/experts_bf16"),
                                 ValuesIn(kWays)),
                         name_of_way);
INSTANTIATE_TEST_SUITE_P(FusedExperts, StoredWeights,
                         Combine(Values("qwen3_vl_moe/hub_bf16", "qwen3_vl_moe/held_f32"),
                                 Values(Way::kBlocks, Way::kInt8Rows, Way::kScaled)),
                         name_of_way);

// --- what is refused ---

using Change = std::function<void(StoredFiles&)>;

struct Damage {
  const char* what;
  Way way;
  Change change;
  Code code;
  std::vector<std::string> says;
};

constexpr const char* kLayer = "model.layers.0.mlp.up_proj";

FileTensor& beside(StoredFiles& stored, const std::string& suffix) {
  return stored.rounded.at(kLayer + suffix);
}

void describe(StoredFiles& stored, const std::string& json) {
  beside(stored, ".comfy_quant") = {"U8", {static_cast<std::int64_t>(json.size())}, json};
}

std::string nan_bytes() {
  return std::string("\0\0\xc0\x7f", 4);
}

std::vector<Damage> all_damage() {
  const auto format = [](const char* name) {
    return [name](StoredFiles& stored) {
      describe(stored, std::string(R"({"format":")") + name + "\"}");
    };
  };
  const std::string scale = std::string(kLayer) + ".weight_scale";
  const std::string inverse = std::string(kLayer) + ".weight_scale_inv";
  std::vector<Damage> all = {
      {"scale_missing",
       Way::kScaled,
       [](StoredFiles& s) { s.rounded.erase(std::string(kLayer) + ".scale_weight"); },
       Code::kBadModel,
       {"model.safetensors", kLayer, "scale_weight"}},
      {"scale_of_two",
       Way::kScaled,
       [](StoredFiles& s) {
         beside(s, ".scale_weight") = {"F32", {2}, std::string(8, '\0')};
       },
       Code::kBadModel,
       {"model.safetensors", kLayer, "[2]"}},
      {"scale_of_integers",
       Way::kLayers,
       [](StoredFiles& s) {
         beside(s, ".weight_scale") = {"I32", {1}, std::string(4, '\0')};
       },
       Code::kBadModel,
       {"model.safetensors", scale, "i32"}},
      {"scale_not_finite",
       Way::kLayers,
       [](StoredFiles& s) { beside(s, ".weight_scale").bytes = nan_bytes(); },
       Code::kBadModel,
       {"model.safetensors", scale, "not finite"}},
      {"code_not_finite",
       Way::kLayers,
       [](StoredFiles& s) { beside(s, ".weight").bytes[5] = '\x7f'; },
       Code::kBadModel,
       {"model.safetensors", kLayer, "not finite"}},
      {"rows_do_not_fit",
       Way::kInt8Rows,
       [](StoredFiles& s) {
         beside(s, ".weight_scale") = {"F32", {3, 1}, std::string(12, '\0')};
       },
       Code::kBadModel,
       {"model.safetensors", scale, "[3, 1]"}},
      {"another_type_than_said",
       Way::kLayers,
       format("int8_tensorwise"),
       Code::kBadModel,
       {"model.safetensors", kLayer, "int8_tensorwise"}},
      {"json_broken",
       Way::kLayers,
       [](StoredFiles& s) { describe(s, "{\"format\":"); },
       Code::kBadModel,
       {kLayer}},
      {"weight_not_described",
       Way::kLayers,
       [](StoredFiles& s) { s.rounded.erase(std::string(kLayer) + ".comfy_quant"); },
       Code::kBadModel,
       {"model.safetensors", kLayer, "nothing says"}},
      {"blocks_do_not_fit",
       Way::kBlocks,
       [](StoredFiles& s) {
         beside(s, ".weight_scale_inv") = {"F32", {1, 1}, std::string(4, '\0')};
       },
       Code::kBadModel,
       {"model.safetensors", inverse, "[1, 1]"}},
      {"blocks_missing",
       Way::kBlocks,
       [](StoredFiles& s) { s.rounded.erase(std::string(kLayer) + ".weight_scale_inv"); },
       Code::kBadModel,
       {"model.safetensors", kLayer, "scale_inv"}},
      {"rotated",
       Way::kInt8,
       [](StoredFiles& s) { describe(s, R"({"convrot":true,"convrot_groupsize":256})"); },
       Code::kUnsupported,
       {"convrot", kLayer}},
      {"blocks_not_described",
       Way::kBlocks,
       [](StoredFiles& s) { s.config = store("qwen3/tied_bf16", Way::kPlain).config; },
       Code::kUnsupported,
       {"blocks", "weight_scale_inv"}}};
  for (const char* name : {"mxfp8", "nvfp4", "convrot_w4a4", "asym_w4a8_int8", "svdquant_w4a4"})
    all.push_back({name, Way::kLayers, format(name), Code::kUnsupported, {name, kLayer}});
  return all;
}

struct Damaged : testing::TestWithParam<Damage> {};

TEST_P(Damaged, IsRefusedWithTensorAndFile) {
  const Damage& damage = GetParam();
  StoredFiles stored = store("qwen3/tied_bf16", damage.way);
  damage.change(stored);
  const auto loaded =
      models::load(files_of("qwen3/tied_bf16", stored.rounded, stored.config, stored.metadata), {});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, damage.code) << loaded.error().what;
  for (const std::string& word : damage.says)
    EXPECT_NE(loaded.error().what.find(word), std::string::npos)
        << word << ": " << loaded.error().what;
}

INSTANTIATE_TEST_SUITE_P(Stored, Damaged, testing::ValuesIn(all_damage()),
                         [](const auto& info) { return std::string(info.param.what); });

}  // namespace
}  // namespace hearth::language
