// The sampler against transformers' processors, closed forms and statistics.

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/generate/philox.h"
#include "models/generate/request.h"
#include "models/generate/sampling.h"

namespace hearth::generate {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Known answers of the authors' own library, Random123 (kat_vectors, philox4x32 with 10 rounds).
static_assert(philox4x32({0, 0, 0, 0}, {0, 0}) ==
              PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
static_assert(philox4x32({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}) ==
              PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
static_assert(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                         {0xa4093822, 0x299f31d0}) ==
              PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});

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

History history_of(std::int32_t vocabulary, const std::vector<std::int32_t>& prompt,
                   const std::vector<std::int32_t>& answer) {
  History history(vocabulary, prompt, static_cast<std::int32_t>(answer.size()));
  for (const std::int32_t id : answer) history.add(id);
  return history;
}

Sampling sampling_of(const nlohmann::json& row) {
  Sampling sampling;
  sampling.temperature = row["temperature"];
  sampling.top_k = row["top_k"];
  sampling.top_p = row["top_p"];
  sampling.min_p = row["min_p"];
  sampling.repetition_penalty = row["repetition_penalty"];
  sampling.presence_penalty = row["presence_penalty"];
  return sampling;
}

std::map<std::int32_t, double> normalised(std::span<const Candidate> candidates) {
  double total = 0.0;
  for (const Candidate& candidate : candidates) total += candidate.weight;
  std::map<std::int32_t, double> probabilities;
  for (const Candidate& candidate : candidates)
    if (candidate.weight > 0.0F) probabilities[candidate.id] = candidate.weight / total;
  return probabilities;
}

class TransformersCases : public testing::TestWithParam<double> {};  // tolerance of a probability

TEST_P(TransformersCases, LeaveTheSameIdsWithTheSameProbabilities) {
  std::ifstream file(HEARTH_SOURCE_DIR "/tests/data/generate/sampling.json");
  const nlohmann::json document = nlohmann::json::parse(file);
  ASSERT_GE(document["cases"].size(), 100U);
  for (const auto& row : document["cases"]) {
    SCOPED_TRACE(row.dump());
    std::vector<float> logits;
    for (const auto& logit : row["logits"])
      logits.push_back(logit.is_null() ? -kInfinity : logit.get<float>());
    const auto vocabulary = static_cast<std::int32_t>(logits.size());
    Sampler sampler(vocabulary);
    const auto left = normalised(sampler.candidates(
        logits, sampling_of(row), history_of(vocabulary, row["prompt"], row["answer"])));
    ASSERT_EQ(left.size(), row["expected"].size());
    for (const auto& [id, probability] : row["expected"].items()) {
      ASSERT_TRUE(left.contains(std::stoi(id))) << id;
      EXPECT_NEAR(left.at(std::stoi(id)), probability.get<double>(), GetParam());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fp32, TransformersCases, testing::Values(1e-6));

TEST(Sampler, GreedyTakesTheLowestIdAmongEquals) {
  std::vector<float> logits(100, 1.0F);
  logits[40] = logits[71] = 2.0F;
  Sampler sampler(100);
  EXPECT_EQ(sampler.pick(logits, {}, History(100, {}, 1), 0), 40);
}

TEST(Sampler, GreedyAppliesThePenaltiesOncePerId) {
  const std::vector<float> logits = {4.0F, 3.0F, -1.0F, 2.5F};
  Sampling sampling;
  sampling.repetition_penalty = 1.5;
  Sampler sampler(4);
  // 4.0 / 1.5 = 2.67 lies below 3.0; twice it would lie below 2.5 as well.
  EXPECT_EQ(sampler.pick(logits, sampling, history_of(4, {0, 0}, {0}), 1), 1);
  EXPECT_EQ(sampler.pick(logits, sampling, history_of(4, {0, 0}, {1}), 1), 0);
  sampling.repetition_penalty = 1.0;
  sampling.presence_penalty = 1.75;  // prompt ids do not count
  EXPECT_EQ(sampler.pick(logits, sampling, history_of(4, {0}, {1}), 1), 0);
  EXPECT_EQ(sampler.pick(logits, sampling, history_of(4, {1}, {0}), 1), 1);
}

TEST(Sampler, IgnoresIdsOutsideTheVocabulary) {
  Sampling sampling;
  sampling.repetition_penalty = 2.0;
  Sampler sampler(3);
  const std::vector<float> logits = {1.0F, 2.0F, 3.0F};
  EXPECT_EQ(sampler.pick(logits, sampling, history_of(3, {-1, 3, 99}, {}), 0), 2);
}

TEST(Sampler, TreatsATemperatureBeyondFp32AsGreedy) {
  Sampling sampling;
  sampling.temperature = 1e-40;
  Sampler sampler(3);
  const std::vector<float> logits = {100.0F, 300.0F, 200.0F};
  EXPECT_EQ(sampler.pick(logits, sampling, History(3, {}, 1), 0), 1);
}

// The nucleus found block by block must be the one of a full sort, at every size and border.
TEST(Sampler, FindsTheNucleusOfALargeFlatVocabulary) {
  constexpr unsigned kSeed = 3;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  constexpr std::int32_t kSize = 5000;
  std::mt19937 random(kSeed);
  std::normal_distribution<float> normal(0.0F, 1.0F);
  std::vector<float> logits(kSize);
  for (float& logit : logits) logit = std::round(20.0F * normal(random)) / 20.0F;  // many ties
  Sampler sampler(kSize);
  Sampling sampling;
  sampling.temperature = 1.0;
  const History history(kSize, {}, 1);
  const auto view = sampler.candidates(logits, sampling, history);
  std::vector<Candidate> sorted(view.begin(), view.end());
  std::sort(sorted.begin(), sorted.end(), [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
  });
  double total = 0.0;
  for (const Candidate& candidate : sorted) total += candidate.weight;
  for (const double top_p : {0.001, 0.05, 0.3, 0.5, 0.9, 0.99}) {
    double below = total;
    std::size_t kept = 0;
    while (kept == 0 || static_cast<float>(below) > static_cast<float>(1.0 - top_p))
      below -= sorted[kept++].weight;
    sampling.top_p = top_p;
    const auto left = sampler.candidates(logits, sampling, history);
    EXPECT_NEAR(static_cast<double>(left.size()), static_cast<double>(kept), 1.0) << top_p;
    EXPECT_TRUE(std::is_sorted(left.begin(), left.end(),
                               [](const auto& a, const auto& b) { return a.id < b.id; }));
  }
}

// Upper tail of chi-square by Wilson and Hilferty (1931): a normal variable of its cube root.
double chi_square_p(double statistic, double freedom) {
  const double variance = 2.0 / (9.0 * freedom);
  const double z = (std::cbrt(statistic / freedom) - (1.0 - variance)) / std::sqrt(variance);
  return 0.5 * std::erfc(z / std::sqrt(2.0));
}

TEST(Sampler, DrawsEachIdAsOftenAsItsProbabilitySays) {
  constexpr std::uint64_t kSeed = 1234567;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  constexpr int kDraws = 100000;
  std::vector<float> logits(32);
  for (std::size_t id = 0; id < logits.size(); ++id)
    logits[id] = 2.0F * std::sin(static_cast<float>(id));
  Sampling sampling;
  sampling.temperature = 0.9;
  sampling.top_k = 20;
  sampling.seed = kSeed;
  Sampler sampler(32);
  const History history(32, {}, 1);
  const auto probabilities = normalised(sampler.candidates(logits, sampling, history));
  std::map<std::int32_t, int> counts;
  for (std::uint32_t step = 0; step < kDraws; ++step)
    ++counts[sampler.pick(logits, sampling, history, step)];
  double statistic = 0.0;
  for (const auto& [id, probability] : probabilities) {
    const double expected = probability * kDraws;
    statistic += (counts[id] - expected) * (counts[id] - expected) / expected;
  }
  ASSERT_EQ(counts.size(), probabilities.size());
  EXPECT_GT(chi_square_p(statistic, static_cast<double>(probabilities.size() - 1)), 0.001);
}

TEST(AllFinite, SeesEveryPlaceAndKind) {
  for (const std::size_t size : {1U, 15U, 16U, 37U}) {
    std::vector<float> logits(size, 3e38F);
    EXPECT_TRUE(all_finite(logits));
    for (std::size_t at = 0; at < size; ++at) {
      for (const float bad : {kInfinity, -kInfinity, std::nanf("")}) {
        logits[at] = bad;
        EXPECT_FALSE(all_finite(logits)) << size << " " << at;
        logits[at] = 0.0F;
      }
    }
  }
}

contract::Generate request_with(std::vector<std::string> stop) {
  contract::Generate request;
  request.stop = std::move(stop);
  return request;
}

TEST(ResolveSampling, RefusesAnEmptyStopString) {
  const auto sampling = resolve_sampling(request_with({"a", ""}));
  ASSERT_FALSE(sampling);
  EXPECT_EQ(sampling.error().code, Code::kBadRequest);
}

TEST(ResolveSampling, TakesTheModelsWishesOnlyWhenAsked) {
  SamplingDefaults model;
  model.temperature = 0.25;
  model.top_k = 7;
  contract::Generate request = request_with({});
  EXPECT_EQ(resolve_sampling(request, model)->top_k, request.top_k);
  request.model_defaults = true;
  EXPECT_EQ(resolve_sampling(request, model)->top_k, 7);
  EXPECT_EQ(resolve_sampling(request, model)->temperature, 0.25);
  EXPECT_EQ(resolve_sampling(request, model)->top_p, request.top_p);
  model.do_sample = false;
  EXPECT_EQ(resolve_sampling(request, model)->temperature, 0.0);
}

TEST(CheckLength, NamesThePromptTheAnswerAndTheContext) {
  EXPECT_TRUE(check_length(90, 10, 100));
  const auto refused = check_length(95, 10, 100);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kTooLong);
  for (const char* number : {"95", "10", "100"})
    EXPECT_NE(refused.error().what.find(number), std::string::npos) << refused.error().what;
  EXPECT_EQ(check_length(101, 1, 100).error().code, Code::kTooLong);
  EXPECT_EQ(check_length(200000, 1, 262144).error().code, Code::kTooLong);
  EXPECT_EQ(check_length(0, 1, 100).error().code, Code::kBadRequest);
}

}  // namespace
}  // namespace hearth::generate
