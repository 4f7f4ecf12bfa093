// Masks, the typical ids, and all processors alone and together against transformers' own.

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>

#include <nlohmann/json.hpp>

#include "models/kernels/ref/sample.h"
#include "tests/unit/kernels_sample_for_test.h"

namespace hearth::kernels {
namespace {

// What no_repeat_ngram forbids: the ids that would repeat a run of `size` ids.
std::vector<bool> repeating(const std::vector<std::int32_t>& said, std::size_t size,
                            std::size_t vocabulary) {
  std::vector<bool> out(vocabulary);
  for (std::size_t at = 0; size > 0 && at + size <= said.size(); ++at) {
    const auto run = said.begin() + static_cast<std::ptrdiff_t>(at);
    const auto length = static_cast<std::ptrdiff_t>(size) - 1;
    if (std::equal(run, run + length, said.end() - length))
      out[static_cast<std::size_t>(run[length])] = true;
  }
  return out;
}

// A case of tests/data/generate/processors.json; what it does not name does nothing. Ids that are
// impossible there are left out by the mask, as the engine does it.
Sampling processed_of(const nlohmann::json& row) {
  Sampling sampling;
  sampling.slot.temperature = row.value("temperature", 1.0F);
  sampling.slot.top_k = row.value("top_k", 0);
  sampling.slot.top_p = row.value("top_p", 1.0F);
  sampling.slot.min_p = row.value("min_p", 0.0F);
  sampling.slot.typical_p = row.value("typical_p", 1.0F);
  sampling.slot.repetition_penalty = row.value("repetition_penalty", 1.0F);
  sampling.slot.presence_penalty = row.value("presence_penalty", 0.0F);
  sampling.slot.frequency_penalty = row.value("frequency_penalty", 0.0F);
  sampling.prompt = row["prompt"].get<std::vector<std::int32_t>>();
  sampling.answer = row["answer"].get<std::vector<std::int32_t>>();
  std::vector<std::int32_t> said = sampling.prompt;
  said.insert(said.end(), sampling.answer.begin(), sampling.answer.end());
  sampling.out =
      repeating(said, row.value("no_repeat_ngram", std::size_t{0}), row["logits"].size());
  for (std::size_t id = 0; id < row["logits"].size(); ++id) {
    const auto& logit = row["logits"][id];
    sampling.out[id] = sampling.out[id] || logit.is_null();
    sampling.logits.push_back(logit.is_null() ? 40.0F : logit.get<float>());
  }
  return sampling;
}

nlohmann::json processor_cases() {
  std::ifstream file(HEARTH_SOURCE_DIR "/tests/data/generate/processors.json");
  return nlohmann::json::parse(file)["cases"];
}

class ProcessorCases : public testing::TestWithParam<double> {};  // tolerance of a probability

TEST_P(ProcessorCases, LeaveTheSameIdsWithTheSameProbabilitiesAloneAndTogether) {
  const nlohmann::json cases = processor_cases();
  ASSERT_EQ(cases.size(), 228U);
  for (const auto& row : cases) {
    SCOPED_TRACE(row.dump());
    HostMemory memory;
    const Sampled sampled(memory, {processed_of(row)});
    const auto candidates = ref::candidates(sampled.call, 0);
    auto left = normalised(candidates);
    std::vector<std::int32_t> kept;
    for (const Candidate& candidate : candidates)
      if (std::isfinite(candidate.score)) kept.push_back(candidate.id);
    ASSERT_EQ(kept, row["kept"].get<std::vector<std::int32_t>>());
    for (std::size_t i = 0; i < kept.size(); ++i)
      EXPECT_NEAR(left[kept[i]], row["probabilities"][i].get<double>(), GetParam());
  }
}

INSTANTIATE_TEST_SUITE_P(Fp32, ProcessorCases, testing::Values(1e-6));

class Processors : public SamplerTest {};
INSTANTIATE_TEST_SUITE_P(Tables, Processors, testing::ValuesIn(samplers_under_test()),
                         implementation_name);

TEST_P(Processors, LeaveOfWhatIsDrawnWhatTransformersLeaves) {
  for (const auto& row : processor_cases()) {
    SCOPED_TRACE(row.dump());
    expect_draws_as_plain(processed_of(row), 8);
  }
}

TEST_P(Processors, DrawsTheOnlyIdOfAMaskWhateverElseIsAsked) {
  Sampling sampling;
  sampling.logits = normal_numbers(1000, 3, 4.0F);
  for (const std::size_t only :
       {std::size_t{0}, std::size_t{31}, std::size_t{32}, std::size_t{999}}) {
    sampling.out.assign(1000, true);
    sampling.out[only] = false;
    sampling.slot = Sampling::plain_slot();
    EXPECT_EQ(pick(sampling), static_cast<std::int32_t>(only));
    sampling.slot.temperature = 0.7F;
    sampling.slot.top_k = 20;
    sampling.slot.top_p = 0.5F;
    sampling.slot.min_p = 0.1F;
    sampling.slot.typical_p = 0.5F;
    sampling.slot.frequency_penalty = 2.0F;
    sampling.slot.repetition_penalty = 1.3F;
    sampling.prompt = sampling.answer = {static_cast<std::int32_t>(only)};
    EXPECT_EQ(pick(sampling), static_cast<std::int32_t>(only));
  }
}

TEST_P(Processors, AMaskIsThatOfItsSlotAlone) {
  const auto use = GetParam().use();
  HostMemory memory;
  Sampling free, bound;
  free.logits = bound.logits = {1.0F, 3.0F, 2.0F};
  bound.out = {false, true, false};
  Sampled sampled(memory, {free, bound, free});
  const auto entries = sampled.run(GetParam(), memory);
  EXPECT_EQ(entries[0].token, 1);
  EXPECT_EQ(entries[1].token, 2);
  EXPECT_EQ(entries[2].token, 1);
}

TEST_P(Processors, AMaskedLogitMustBeFiniteTooAndAMaskIsNoLogit) {
  const auto use = GetParam().use();
  HostMemory memory;
  Sampling sampling;
  sampling.logits = {1.0F, 3.0F, 2.0F};
  sampling.out = {false, true, false};
  Sampled good(memory, {sampling});
  EXPECT_EQ(good.run(GetParam(), memory)[0].flags, 0U);
  sampling.logits[1] = std::numeric_limits<float>::quiet_NaN();
  Sampled bad(memory, {sampling});
  EXPECT_NE(bad.run(GetParam(), memory)[0].flags & HEARTH_SAMPLED_NOT_FINITE, 0U);
}

// Fewer ids than top-k wants, than a nucleus is sought in, and many.
TEST_P(Processors, DrawsFromWhatAMaskLeavesOfALargeVocabulary) {
  Sampling sampling;
  sampling.logits = normal_numbers(151936, 5, 3.0F);
  for (const std::size_t every : {std::size_t{40000}, std::size_t{1000}, std::size_t{3}}) {
    SCOPED_TRACE(every);
    sampling.out.assign(sampling.logits.size(), true);
    for (std::size_t id = 7; id < sampling.out.size(); id += every) sampling.out[id] = false;
    sampling.slot = Sampling::plain_slot();
    expect_draws_as_plain(sampling, 1);
    sampling.slot.temperature = 0.8F;
    expect_draws_as_plain(sampling, 4);
    sampling.slot.top_k = 20;
    sampling.slot.top_p = 0.9F;
    expect_draws_as_plain(sampling, 4);
  }
}

TEST_P(Processors, FindsTheMostTypicalIds) {
  Sampling sampling;
  sampling.logits = normal_numbers(5000, 3, 2.0F);
  sampling.slot.temperature = 1.0F;
  for (const float typical_p : {0.0F, 0.01F, 0.5F, 0.95F}) {
    SCOPED_TRACE(typical_p);
    sampling.slot.typical_p = typical_p;
    sampling.slot.top_k = 0;
    expect_draws_as_plain(sampling, 200);
    sampling.slot.top_k = 50;
    expect_draws_as_plain(sampling, 200);
  }
}

TEST_P(Processors, TakesAllOfAFlatVocabularyForEquallyTypical) {
  Sampling sampling;
  sampling.logits.assign(100, 1.0F);
  sampling.slot.temperature = 1.0F;
  sampling.slot.typical_p = 0.2F;
  std::map<std::int32_t, int> drawn;
  for (std::uint32_t answer = 0; answer < 64; ++answer) {
    sampling.slot.answer_index = answer;
    ++drawn[pick(sampling)];
  }
  EXPECT_GT(drawn.size(), 30U);
}

}  // namespace
}  // namespace hearth::kernels
