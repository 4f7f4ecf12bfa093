// Each stage of the network fed transformers' input must give transformers' output.
#include <cmath>
#include <tuple>

#include "tests/unit/engine_qwen_for_test.h"

namespace hearth::qwen3_vl {
namespace {

using testing::Combine;
using testing::Values;
using testing::ValuesIn;

using CaseInput = std::tuple<const char*, const char*, double>;  // case, input, tolerance

std::string name_of_case(const testing::TestParamInfo<CaseInput>& info) {
  return std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param);
}

struct Fed : testing::TestWithParam<CaseInput> {
  const std::string name = std::get<0>(GetParam());
  const double tolerance = std::get<2>(GetParam());
  const Oracle oracle{name};
  Network network{name, at::kFloat};
  const Input input = network.input(oracle, std::get<1>(GetParam()));
};

// --- positions ---

struct TokenPlaces : Fed {};

TEST_P(TokenPlaces, AreTransformers) {
  const Positions placed = place_tokens(input.tokens(), input.pictures);
  EXPECT_EQ(placed.ids, input.positions);
  EXPECT_EQ(placed.delta, input.delta);
}

INSTANTIATE_TEST_SUITE_P(Qwen3Vl, TokenPlaces,
                         Combine(ValuesIn(kCases), ValuesIn(kInputs), Values(0.0)), name_of_case);

// --- the vision tower ---

struct Vision : Fed {};

TEST_P(Vision, FeaturesAreTransformers) {
  const auto on = models::EngineThreadForTest::on_engine();
  for (std::size_t i = 0; i < input.patches.size(); ++i) {
    const engine::Features made = network.tower->encode(on, *input.patches[i]);
    EXPECT_LE(
        max_difference(engine::to_floats(made.rows), engine::to_floats(input.features[i].rows)),
        tolerance)
        << "picture " << i;
  }
}

TEST_P(Vision, EveryDeepstackLevelIsTransformers) {
  const auto on = models::EngineThreadForTest::on_engine();
  for (std::size_t i = 0; i < input.patches.size(); ++i) {
    const engine::Features made = network.tower->encode(on, *input.patches[i]);
    ASSERT_EQ(made.deepstack.size(), input.features[i].deepstack.size());
    for (std::size_t level = 0; level < made.deepstack.size(); ++level)
      EXPECT_LE(max_difference(engine::to_floats(made.deepstack[level]),
                               engine::to_floats(input.features[i].deepstack[level])),
                tolerance)
          << "picture " << i << ", level " << level;
  }
}

INSTANTIATE_TEST_SUITE_P(Qwen3Vl, Vision,
                         Combine(ValuesIn(kCases), Values("one", "many"), Values(1e-5)),
                         name_of_case);

// --- the decoder ---

struct Decoder : Fed {};

TEST_P(Decoder, PrefillLogitsAreTransformers) {
  const Rows rows = prefill_all(network, input, 0, input.rows);
  const std::size_t width = rows[0].size();
  for (std::size_t i = 0; i < rows.size(); ++i)
    EXPECT_LE(max_difference(rows[i], std::span(input.logits).subspan(i * width, width)), tolerance)
        << "row " << input.rows[i];
}

TEST_P(Decoder, SixtyFourGreedyTokensAreTransformers) {
  EXPECT_EQ(answer(network, input, 0, 64), input.greedy);
}

TEST_P(Decoder, GreedyTokensFromOurOwnVisionAreTransformers) {
  const auto on = models::EngineThreadForTest::on_engine();
  Input own = input;
  for (std::size_t i = 0; i < own.patches.size(); ++i)
    own.features[i] = network.tower->encode(on, *own.patches[i]);
  EXPECT_EQ(answer(network, own, 0, 64), input.greedy);
}

TEST_P(Decoder, CachedStepsGiveWhatAFullRunGives) {
  // The same sequence twice: prompt then answers one by one, and all of it at once.
  Input whole = input;
  whole.ids.insert(whole.ids.end(), input.greedy.begin(), input.greedy.begin() + 16);
  Positions placed = place_tokens(whole.tokens(), whole.pictures);
  whole.positions = placed.ids;
  std::vector<std::int32_t> chosen;
  for (std::int32_t i = input.tokens(); i < whole.tokens(); ++i) chosen.push_back(i);
  const Rows at_once = prefill_all(network, whole, 1, chosen);

  prefill_all(network, input, 0, {});
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const std::int32_t index = chosen[i];
    const Rows one =
        step(network, {{0, whole.ids[static_cast<std::size_t>(index)], index, input.delta}});
    EXPECT_LE(max_difference(one[0], at_once[i]), tolerance) << "token " << index;
  }
}

TEST_P(Decoder, ChunksGiveWhatOneRunGives) {
  const std::int32_t last = input.tokens() - 1;
  const Rows single = prefill_all(network, input, 0, {last});
  for (const std::int32_t chunk : {1, 7, 20}) {
    Rows rows;
    for (std::int32_t first = 0; first <= last; first += chunk) {
      const std::int32_t count = std::min(chunk, input.tokens() - first);
      rows = prefill(network, input, 1, first, count, {count - 1});
    }
    EXPECT_LE(max_difference(rows[0], single[0]), tolerance) << "chunks of " << chunk;
  }
}

TEST_P(Decoder, ASequenceAloneIsTheSequenceInCompany) {
  const std::vector<std::int32_t> alone = answer(network, input, 0, 16);
  // Two others run beside it: one from the start, one joins half way.
  Input other = network.input(oracle, "text");
  std::swap(other.ids[3], other.ids[5]);
  std::vector<std::vector<std::int32_t>> ids(3);
  const auto start = [&](std::size_t slot, const Input& which) {
    const auto rows =
        prefill_all(network, which, static_cast<std::int32_t>(slot), {which.tokens() - 1});
    ids[slot] = {generate::argmax(rows[0])};
  };
  const auto next = [&](std::size_t slot, const Input& which) {
    return Next{static_cast<std::int32_t>(slot), ids[slot].back(),
                which.tokens() + static_cast<std::int32_t>(ids[slot].size()) - 1, which.delta};
  };
  start(2, other);
  start(1, input);
  while (ids[1].size() < 16) {
    if (ids[1].size() == 8) start(0, other);
    std::vector<Next> rows = {next(2, other), next(1, input)};
    if (!ids[0].empty()) rows.insert(rows.begin(), next(0, other));
    const Rows logits = step(network, rows);
    for (std::size_t i = 0; i < rows.size(); ++i)
      ids[static_cast<std::size_t>(rows[i].slot)].push_back(generate::argmax(logits[i]));
  }
  EXPECT_EQ(ids[1], alone);
}

INSTANTIATE_TEST_SUITE_P(Qwen3Vl, Decoder,
                         Combine(ValuesIn(kCases), ValuesIn(kInputs), Values(1e-4)), name_of_case);

// --- bf16 ---

// The third parameter: how much further from fp32 than transformers' own bf16 we may be.
struct Bfloat16 : testing::TestWithParam<CaseInput> {
  const std::string name = std::get<0>(GetParam());
  const std::string input_name = std::get<1>(GetParam());
  const double factor = std::get<2>(GetParam());
  const Oracle oracle{name};
  Network network{name, at::kBFloat16};
  Input input = network.input(oracle, input_name);

  std::vector<engine::Features> encode() {
    std::vector<engine::Features> made;
    for (const auto& patches : input.patches)
      made.push_back(network.tower->encode(models::EngineThreadForTest::on_engine(), *patches));
    return made;
  }
};

TEST_P(Bfloat16, LogitsAreAsCloseToFp32AsTransformersAre) {
  input.features = encode();
  std::vector<float> all;
  for (const auto& row : prefill_all(network, input, 0, input.rows))
    all.insert(all.end(), row.begin(), row.end());
  EXPECT_LE(relative_difference(all, input.logits),
            factor * oracle.floats(input_name + ".logits_bf16_error")[0]);
}

TEST_P(Bfloat16, ChunksAreAsCloseToFp32AsTransformersAre) {
  input.features = encode();
  const std::int32_t half = input.rows[1];  // the oracle's rows: first, middle, last
  std::vector<float> all;
  for (const auto& [first, end] : {std::pair(0, half), std::pair(half, input.tokens())}) {
    const std::int32_t last = end - first - 1;
    const std::vector<std::int32_t> chosen = first == 0 ? std::vector{0} : std::vector{0, last};
    for (const auto& row : prefill(network, input, 0, first, end - first, chosen))
      all.insert(all.end(), row.begin(), row.end());
  }
  EXPECT_LE(relative_difference(all, input.logits),
            factor * oracle.floats(input_name + ".logits_bf16_error")[0]);
}

TEST_P(Bfloat16, VisionIsAsCloseToFp32AsTransformersIs) {
  const std::vector<engine::Features> made = encode();
  for (std::size_t i = 0; i < made.size(); ++i)
    EXPECT_LE(relative_difference(engine::to_floats(made[i].rows),
                                  engine::to_floats(input.features[i].rows)),
              factor * oracle.floats(input_name + ".vision_bf16_error." + std::to_string(i))[0]);
}

INSTANTIATE_TEST_SUITE_P(Qwen3Vl, Bfloat16,
                         Combine(ValuesIn(kCases), ValuesIn(kInputs), Values(1.25)), name_of_case);

}  // namespace
}  // namespace hearth::qwen3_vl
