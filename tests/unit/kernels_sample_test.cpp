// The sampler's choice: every table against the plain one, and the plain one against transformers'
// processors, closed forms and statistics.

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <span>
#include <tuple>

#include <nlohmann/json.hpp>

#include "models/kernels/philox.h"
#include "models/kernels/ref/sample.h"
#include "tests/unit/kernels_sample_for_test.h"

namespace hearth::kernels {
namespace {

// Known answers of the authors' own library, Random123 (kat_vectors, philox4x32 with 10 rounds).
static_assert(philox4x32({{0, 0, 0, 0}}, {{0, 0}}) ==
              PhiloxCounter{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
static_assert(philox4x32({{~0U, ~0U, ~0U, ~0U}}, {{~0U, ~0U}}) ==
              PhiloxCounter{{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
static_assert(philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
                         {{0xa4093822, 0x299f31d0}}) ==
              PhiloxCounter{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});

TEST(Philox, StaysBelowOneAndDependsOnEveryPartOfItsKey) {
  const double drawn = philox_uniform(1, 0, 0);
  EXPECT_NE(drawn, philox_uniform(2, 0, 0));
  EXPECT_NE(drawn, philox_uniform(1ULL | 1ULL << 40, 0, 0));
  EXPECT_NE(drawn, philox_uniform(1, 1, 0));
  EXPECT_NE(drawn, philox_uniform(1, 0, 1));
  for (std::uint32_t step = 0; step < 10000; ++step) {
    EXPECT_GE(philox_uniform(9, 0, step), 0.0);
    EXPECT_LT(philox_uniform(9, 0, step), 1.0);
  }
}

// A case of tests/data/generate/sampling.json. Its -infinity becomes a number that no penalty and
// temperature there bring within reach: logits of a model are finite.
Sampling sampling_of(const nlohmann::json& row) {
  Sampling sampling;
  for (const auto& logit : row["logits"])
    sampling.logits.push_back(logit.is_null() ? -1e30F : logit.get<float>());
  sampling.slot.temperature = row["temperature"];
  sampling.slot.top_k = row["top_k"];
  sampling.slot.top_p = row["top_p"];
  sampling.slot.min_p = row["min_p"];
  sampling.slot.repetition_penalty = row["repetition_penalty"];
  sampling.slot.presence_penalty = row["presence_penalty"];
  sampling.prompt = row["prompt"].get<std::vector<std::int32_t>>();
  sampling.answer = row["answer"].get<std::vector<std::int32_t>>();
  return sampling;
}

nlohmann::json transformers_cases() {
  std::ifstream file(HEARTH_SOURCE_DIR "/tests/data/generate/sampling.json");
  return nlohmann::json::parse(file)["cases"];
}

class TransformersCases : public testing::TestWithParam<double> {};  // tolerance of a probability

TEST_P(TransformersCases, LeaveTheSameIdsWithTheSameProbabilities) {
  const nlohmann::json cases = transformers_cases();
  ASSERT_GE(cases.size(), 100U);
  for (const auto& row : cases) {
    SCOPED_TRACE(row.dump());
    HostMemory memory;
    const Sampled sampled(memory, {sampling_of(row)});
    const auto left = normalised(ref::candidates(sampled.call, 0));
    ASSERT_EQ(left.size(), row["expected"].size());
    for (const auto& [id, probability] : row["expected"].items()) {
      ASSERT_TRUE(left.contains(std::stoi(id))) << id;
      EXPECT_NEAR(left.at(std::stoi(id)), probability.get<double>(), GetParam());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fp32, TransformersCases, testing::Values(1e-6));

class Sampler : public SamplerTest {};
INSTANTIATE_TEST_SUITE_P(Tables, Sampler, testing::ValuesIn(samplers_under_test()),
                         implementation_name);

TEST_P(Sampler, DrawsWhatTransformersLeaves) {
  for (const auto& row : transformers_cases()) {
    SCOPED_TRACE(row.dump());
    expect_draws_as_plain(sampling_of(row), 16);
  }
}

TEST_P(Sampler, GreedyTakesTheLowestIdAmongEquals) {
  Sampling sampling;
  sampling.logits.assign(1000, -1.0F);
  sampling.logits[440] = sampling.logits[441] = sampling.logits[871] = 2.0F;
  EXPECT_EQ(pick(sampling), 440);
  sampling.logits.assign(37, -3.0F);
  EXPECT_EQ(pick(sampling), 0);
  sampling.logits[36] = -2.0F;
  EXPECT_EQ(pick(sampling), 36);
}

TEST_P(Sampler, PenalisesRepetitionAndPresenceOncePerIdAndFrequencyEachTime) {
  Sampling sampling;
  sampling.logits = {4.0F, 3.0F, -1.0F, 2.5F};
  sampling.slot.repetition_penalty = 1.5F;
  sampling.prompt = {0, 0};
  sampling.answer = {0};
  EXPECT_EQ(pick(sampling), 1) << "4.0 / 1.5 lies below 3.0; twice it would lie below 2.5 as well";
  sampling.answer = {1};
  EXPECT_EQ(pick(sampling), 0);
  sampling.slot.repetition_penalty = 1.0F;
  sampling.slot.presence_penalty = 1.75F;
  sampling.prompt = {0};
  EXPECT_EQ(pick(sampling), 0) << "ids of the prompt are not in the answer";
  sampling.answer = {0};
  EXPECT_EQ(pick(sampling), 1);
  sampling.slot.presence_penalty = 0.0F;
  sampling.slot.frequency_penalty = 0.75F;
  EXPECT_EQ(pick(sampling), 0) << "4.0 - 0.75 is the largest still";
  sampling.answer = {0, 0};
  EXPECT_EQ(pick(sampling), 1) << "4.0 - 2 * 0.75 is not";
}

TEST_P(Sampler, MakesSeenIdsLessLikelyAlsoBelowZero) {
  Sampling sampling;
  sampling.logits = {-1.0F, -1.2F};
  sampling.slot.repetition_penalty = 1.5F;
  sampling.prompt = {0};
  EXPECT_EQ(pick(sampling), 1);
}

TEST_P(Sampler, TreatsATemperatureBeyondFp32AsGreedy) {
  Sampling sampling;
  sampling.slot.temperature = 1e-40F;
  sampling.logits = {100.0F, 300.0F, 200.0F};
  EXPECT_EQ(pick(sampling), 1);
}

TEST_P(Sampler, TakesTheLikeliestForTopPZeroAndTopKOne) {
  Sampling sampling;
  sampling.logits = {1.0F, 1.5F, 1.5F, 0.0F};
  sampling.slot.temperature = 5.0F;
  sampling.slot.top_p = 0.0F;
  for (std::uint32_t answer = 0; answer < 32; ++answer) {
    sampling.slot.answer_index = answer;
    EXPECT_EQ(pick(sampling), 1) << "of equals the lowest id";
  }
  sampling.slot.top_p = 1.0F;
  sampling.slot.top_k = 1;
  std::map<std::int32_t, int> drawn;
  for (std::uint32_t answer = 0; answer < 64; ++answer) {
    sampling.slot.answer_index = answer;
    ++drawn[pick(sampling)];
  }
  EXPECT_EQ(drawn.size(), 2U) << "equals of the k-th stay";
  EXPECT_EQ(drawn.count(1) + drawn.count(2), 2U);
}

TEST_P(Sampler, TakesATopKBeyondTheVocabularyForAll) {
  Sampling sampling;
  sampling.logits = normal_numbers(50, 3);
  sampling.slot.temperature = 1.0F;
  sampling.slot.top_k = 1000;
  expect_draws_as_plain(sampling, 500);
}

// Many ties at every border.
TEST_P(Sampler, FindsTheNucleusOfAFlatVocabulary) {
  Sampling sampling;
  for (const float logit : normal_numbers(5000, 3))
    sampling.logits.push_back(std::round(20.0F * logit) / 20.0F);
  sampling.slot.temperature = 1.0F;
  for (const float top_p : {0.001F, 0.05F, 0.5F, 0.9F, 0.99F}) {
    SCOPED_TRACE(top_p);
    sampling.slot.top_p = top_p;
    expect_draws_as_plain(sampling, 200);
  }
  sampling.slot.top_k = 700;
  expect_draws_as_plain(sampling, 200);
}

TEST_P(Sampler, DrawsFromALargeVocabulary) {
  Sampling sampling;
  sampling.logits = normal_numbers(151936, 5, 3.0F);
  for (std::int32_t id = 0; id < 151936; id += 1000) sampling.prompt.push_back(id);
  sampling.answer = sampling.prompt;
  sampling.slot.repetition_penalty = 1.1F;
  sampling.slot.frequency_penalty = 0.5F;
  expect_draws_as_plain(sampling, 1);
  for (const auto& [temperature, top_k, top_p] :
       {std::tuple{0.7F, 20, 0.8F}, std::tuple{1.0F, 1000, 1.0F}, std::tuple{0.9F, 0, 0.95F}}) {
    sampling.slot.temperature = temperature;
    sampling.slot.top_k = top_k;
    sampling.slot.top_p = top_p;
    expect_draws_as_plain(sampling, 4);
  }
}

TEST_P(Sampler, DrawsWithinEqualLogitsOfALargeVocabulary) {
  Sampling sampling;
  sampling.logits.assign(100000, 1.0F);
  sampling.slot.temperature = 1.0F;
  sampling.slot.top_p = 0.25F;
  for (std::uint32_t answer = 0; answer < 3; ++answer) {
    sampling.slot.answer_index = answer;
    const std::int32_t drawn = pick(sampling);
    EXPECT_LE(drawn, 25010) << "of equals the lowest ids are the nucleus";
    EXPECT_NEAR(drawn, 25000 * philox_uniform(0, answer, 2), 20.0);
  }
}

// Upper tail of chi-square by Wilson and Hilferty (1931): a normal variable of its cube root.
double chi_square_p(double statistic, double freedom) {
  const double variance = 2.0 / (9.0 * freedom);
  const double z = (std::cbrt(statistic / freedom) - (1.0 - variance)) / std::sqrt(variance);
  return 0.5 * std::erfc(z / std::sqrt(2.0));
}

TEST_P(Sampler, DrawsEachIdAsOftenAsItsProbabilitySays) {
  constexpr std::uint64_t kSeed = 1234567;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  constexpr std::uint32_t kRows = 1000;
  const auto calls = static_cast<std::uint32_t>(100 / fewer_repetitions());
  const auto use = GetParam().use();
  Sampling sampling;
  for (int id = 0; id < 32; ++id)
    sampling.logits.push_back(2.0F * std::sin(static_cast<float>(id)));
  sampling.slot.temperature = 0.9F;
  sampling.slot.top_k = 20;
  sampling.slot.seed = kSeed;
  std::vector<Sampling> rows(kRows, sampling);
  for (std::uint32_t row = 0; row < kRows; ++row) rows[row].slot.answer_index = row;
  HostMemory memory;
  Sampled sampled(memory, rows);
  const auto probabilities = normalised(ref::candidates(sampled.call, 0));
  std::map<std::int32_t, int> counts;
  for (std::uint32_t step = 0; step < calls; ++step)
    for (const HearthSampled& entry : sampled.run(GetParam(), memory)) ++counts[entry.token];
  double statistic = 0.0;
  for (const auto& [id, probability] : probabilities) {
    const double expected = probability * kRows * calls;
    statistic += (counts[id] - expected) * (counts[id] - expected) / expected;
  }
  ASSERT_EQ(counts.size(), probabilities.size());
  EXPECT_GT(chi_square_p(statistic, static_cast<double>(probabilities.size() - 1)), 0.001);
}

}  // namespace
}  // namespace hearth::kernels
