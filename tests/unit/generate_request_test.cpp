// What a request asks for, resolved and checked; and hidden states that are not numbers.

#include <algorithm>

#include <gtest/gtest.h>

#include "models/generate/hidden_states.h"
#include "models/generate/request.h"

namespace hearth::generate {
namespace {

class FiniteStates : public testing::TestWithParam<DType> {};

TEST_P(FiniteStates, SeeEveryPlaceOfNanAndInfinity) {
  constexpr std::int32_t kTokens = 5;
  const Taps taps{{3}, GetParam(), 7};
  HiddenStates hidden(taps, kTokens);
  const std::span<std::byte> row = hidden.rows(0, kTokens)[0];
  const std::size_t step = item_bytes(GetParam());
  std::fill(row.begin(), row.end(), std::byte{0x11});
  EXPECT_TRUE(hidden.check_rows());
  for (std::size_t at = 0; at < row.size(); at += step) {
    for (const std::byte top : {std::byte{0x7F}, std::byte{0xFF}}) {
      row[at + step - 1] = top;  // all bits of the exponent
      row[at + step - 2] = std::byte{0xFF};
      const auto refused = hidden.check_rows();
      ASSERT_FALSE(refused) << at;
      EXPECT_EQ(refused.error().code, Code::kNotFinite);
    }
    row[at + step - 1] = row[at + step - 2] = std::byte{0x11};
  }
}

INSTANTIATE_TEST_SUITE_P(EveryType, FiniteStates,
                         testing::Values(DType::kF32, DType::kF16, DType::kBF16));

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

TEST(ResolveSampling, TakesEveryWishOfTheModel) {
  contract::Generate request = request_with({});
  request.model_defaults = true;
  const SamplingDefaults model{.do_sample = true,
                               .temperature = 0.5,
                               .top_k = 3,
                               .top_p = 0.25,
                               .min_p = 0.125,
                               .typical_p = 0.75,
                               .repetition_penalty = 1.5,
                               .presence_penalty = 0.25,
                               .frequency_penalty = -0.5,
                               .no_repeat_ngram = 4};
  const auto sampling = resolve_sampling(request, model);
  ASSERT_TRUE(sampling);
  EXPECT_EQ(sampling->top_k, 3);
  EXPECT_EQ(sampling->top_p, 0.25);
  EXPECT_EQ(sampling->min_p, 0.125);
  EXPECT_EQ(sampling->typical_p, 0.75);
  EXPECT_EQ(sampling->repetition_penalty, 1.5);
  EXPECT_EQ(sampling->presence_penalty, 0.25);
  EXPECT_EQ(sampling->frequency_penalty, -0.5);
  EXPECT_EQ(sampling->no_repeat_ngram, 4);
}

TEST(ResolveSampling, CarriesWhatTheRequestAsksOfAnswersAndBeams) {
  contract::Generate request = request_with({});
  request.typical_p = 0.5;
  request.frequency_penalty = 1.25;
  request.no_repeat_ngram = 3;
  request.answers = 2;
  request.beams = 4;
  request.length_penalty = -0.5;
  const auto sampling = resolve_sampling(request);
  ASSERT_TRUE(sampling);
  EXPECT_EQ(sampling->typical_p, 0.5);
  EXPECT_EQ(sampling->frequency_penalty, 1.25);
  EXPECT_EQ(sampling->no_repeat_ngram, 3);
  EXPECT_EQ(sampling->answers, 2);
  EXPECT_EQ(sampling->beams, 4);
  EXPECT_EQ(sampling->length_penalty, -0.5);
}

// What is refused, and words that the error names.
struct Unresolved {
  void (*set)(contract::Generate& request);
  Code code;
  std::vector<const char*> words;
};

TEST(ResolveSampling, RefusesWhatCannotBeHadTogether) {
  const std::vector<Unresolved> cases = {
      {[](auto& r) { r.answers = 4, r.beams = 3; }, Code::kBadRequest, {"4 answers", "3 beams"}},
      {[](auto& r) { r.beams = 2, r.regex = "a"; }, Code::kUnsupported, {"beams", "regex"}},
      {[](auto& r) { r.beams = 2, r.json_schema = "{}"; }, Code::kUnsupported, {"json_schema"}},
      {[](auto& r) { r.beams = 2, r.thinking_tokens = 5; },
       Code::kUnsupported,
       {"thinking_tokens"}},
      {[](auto& r) { r.json_schema = "{}", r.regex = "a"; },
       Code::kBadRequest,
       {"json_schema", "regex"}},
  };
  for (const Unresolved& refused : cases) {
    contract::Generate request = request_with({});
    refused.set(request);
    const auto sampling = resolve_sampling(request);
    ASSERT_FALSE(sampling);
    EXPECT_EQ(sampling.error().code, refused.code);
    for (const char* word : refused.words)
      EXPECT_NE(sampling.error().what.find(word), std::string::npos) << sampling.error().what;
  }
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
