// Who computes attention is a choice, and all of them give the same: sdpa and one step after
// another as transformers does, the fused kernel as close as bf16 can be.
#include <algorithm>
#include <tuple>

#include "models/torch/tensors.h"
#include "tests/unit/engine_qwen_network_for_test.h"
#include "tests/unit/engine_requests_for_test.h"

namespace hearth::language {
namespace {

using testing::Combine;
using testing::Values;

// Case, input, tolerance.
struct Eager : testing::TestWithParam<std::tuple<const char*, const char*, double>> {
  const std::string name = std::get<0>(GetParam());
  const double tolerance = std::get<2>(GetParam());
  const Oracle oracle{name};
};

std::string name_of_case(const testing::TestParamInfo<Eager::ParamType>& info) {
  std::string name = std::get<0>(info.param);
  std::replace(name.begin(), name.end(), '/', '_');
  return name + "_" + std::get<1>(info.param);
}

TEST_P(Eager, StepsOfTheirOwnGiveTransformersLogits) {
  Network network(name, "float32", By::kEagerAttention);
  const Input input = network.input(oracle, std::get<1>(GetParam()));
  // The second part sees keys of the first: a mask that is no triangle.
  const std::int32_t half = input.tokens() / 2;
  prefill(network, input, 0, 0, half, {});
  const Rows rows =
      prefill(network, input, 0, half, input.tokens() - half, {input.rows.back() - half});
  const auto last = std::span(input.logits).last(rows[0].size());
  EXPECT_LE(max_difference(rows[0], last), tolerance);
}

TEST_P(Eager, StepsOfTheirOwnGiveTransformersFeatures) {
  Network network(name, "float32", By::kEagerAttention);
  const Input input = network.input(oracle, std::get<1>(GetParam()));
  for (std::size_t i = 0; i < input.patches.size(); ++i)
    EXPECT_LE(max_difference(engine::to_floats(encode(network, *input.patches[i]).rows),
                             engine::to_floats(input.features[i].rows)),
              tolerance);
}

// Each family's attention is rounded once more or once less, nothing else.
TEST_P(Eager, InBfloat16AllWaysAgreeWithinRounding) {
  std::vector<std::vector<float>> found;
  for (const By by : {By::kBest, By::kLibrary, By::kEagerAttention}) {
    Network network(name, "bfloat16", by);
    const Input input = network.input(oracle, std::get<1>(GetParam()));
    found.push_back(prefill_all(network, input, 0, {input.rows.back()})[0]);
  }
  constexpr double kRounding = 0.03;
  EXPECT_LE(relative_difference(found[1], found[0]), kRounding);
  EXPECT_LE(relative_difference(found[2], found[0]), kRounding);
}

INSTANTIATE_TEST_SUITE_P(Qwen, Eager,
                         Combine(Values("tied_bf16", "qwen2_5_vl/untied_hub_f32"),
                                 Values("text", "one"), Values(1e-4)),
                         name_of_case);
INSTANTIATE_TEST_SUITE_P(QwenText, Eager,
                         Combine(Values("qwen2/untied_f32", "qwen3/tied_bf16"), Values("text"),
                                 Values(1e-4)),
                         name_of_case);

std::shared_ptr<models::Model> load_with(const std::string& attention) {
  models::LoadOptions options;
  options.dtype = "float32";
  options.attention = attention;
  return must(models::load(case_files("tied_bf16"), options));
}

TEST(Attention, EveryChoiceAnswersAsTransformers) {
  const Oracle oracle("tied_bf16");
  for (const char* attention : {"auto", "sdpa", "eager"}) {
    models::LoadedModel model(load_with(attention));
    const auto heard = model.answer(models::ask("Say: naïve 漢 🙂\n\n 12"));
    const auto ids = generate::ids_in(heard->reply->token_ids);
    const auto expected = oracle.integers("text.greedy");
    EXPECT_TRUE(std::equal(ids.begin(), ids.end(), expected.begin())) << attention;
  }
}

TEST(Attention, WhatTheDeviceLacksIsRefusedByName) {
  for (const char* attention : {"flash", "sage"}) {
    models::LoadOptions options;
    options.dtype = "float32";  // for which there is no fused kernel anywhere
    options.attention = attention;
    const auto planned = models::plan(case_files("tied_bf16"), options);
    ASSERT_FALSE(planned);
    EXPECT_EQ(planned.error().code, Code::kUnsupported);
    EXPECT_NE(planned.error().what.find(attention), std::string::npos) << planned.error().what;
    EXPECT_FALSE(models::load(case_files("tied_bf16"), options));
  }
}

}  // namespace
}  // namespace hearth::language
