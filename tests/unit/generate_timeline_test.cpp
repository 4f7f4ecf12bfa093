// Where the time of a request went: nothing twice, nothing lost, the prompt's time not the first
// token's.

#include <algorithm>
#include <cstring>
#include <thread>

#include "models/generate/timeline.h"
#include "tests/unit/generate_for_test.h"

namespace hearth::generate {
namespace {

using models::Clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

std::vector<std::int32_t> times_in(const std::string& token_us) {
  std::vector<std::int32_t> times(token_us.size() / sizeof(std::int32_t));
  std::memcpy(times.data(), token_us.data(), token_us.size());
  return times;
}

// The waits are far above what this machine may lose between two clocks.
struct Lost {
  std::string words;  // for the fake model
  double tolerance_ms;
};

class Phases : public testing::TestWithParam<Lost> {};

TEST_P(Phases, AddUpToTheWholeTime) {
  FakeBatch batch(1);
  const Running run = batch.submit(greedy(GetParam().words));
  batch.finish();
  const double whole_ms = ms_since(run.job->arrived);
  const contract::Receipt& receipt = run.heard->reply->receipt;
  const double sum_ms = receipt.queue_ms + receipt.preprocess_ms + receipt.vision_ms +
                        receipt.prefill_ms + receipt.decode_ms;
  EXPECT_LE(sum_ms, whole_ms);
  EXPECT_NEAR(sum_ms, whole_ms, GetParam().tolerance_ms);
}

INSTANTIATE_TEST_SUITE_P(Waits, Phases,
                         testing::Values(Lost{"!wait begin 150 one two", 100.0},
                                         Lost{"!wait prefill 150 one two", 100.0},
                                         Lost{"!wait step 150 ab", 100.0}));

TEST(Timeline, TheFirstTokenTakesWhatThePromptTakes) {
  FakeBatch batch(1);
  const Running run = batch.run(greedy("!wait prefill 200 abc"));
  const contract::Receipt& receipt = run.heard->reply->receipt;
  EXPECT_GE(receipt.prefill_ms, 200.0);
  EXPECT_LT(receipt.decode_ms, 200.0);
  EXPECT_LT(receipt.slowest_token_ms, 200.0);
  EXPECT_EQ(times_in(run.heard->reply->token_us).front(), 0);
}

// From arrival to the slot: all but what the prompt's preparation took is waiting.
TEST(Timeline, TimeBeforeTheSlotIsQueueOrPreprocess) {
  Timeline timeline(4, Clock::now() - std::chrono::milliseconds(5'080));
  timeline.begin_started();
  timeline.begin_finished();
  timeline.token();
  TokenPrompt prompt;
  prompt.preprocess_ms = 2'000.0;
  const contract::Receipt receipt = timeline.receipt(prompt, {}, {});
  EXPECT_EQ(receipt.preprocess_ms, 2'000.0);
  EXPECT_NEAR(receipt.queue_ms, 3'080.0, 1'000.0);
}

// Makes one step far longer than the others.
class StallingDecoder : public fake::Decoder {
 public:
  using fake::Decoder::Decoder;
  static constexpr int kStalls = 6;  // this step, counted from 1

  Result<void> step(models::OnEngine on, std::span<const std::int32_t> slots) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(++steps_ == kStalls ? 300 : 2));
    return fake::Decoder::step(on, slots);
  }

 private:
  int steps_ = 0;
};

TEST(Timeline, StepsFarAboveTheMedianAreStalls) {
  BatchOver<StallingDecoder> batch(1);
  const Running run = batch.run(greedy(std::string(20, 'a')));
  std::vector<std::int32_t> steps = times_in(run.heard->reply->token_us);
  steps.erase(steps.begin());
  std::vector<std::int32_t> sorted = steps;
  std::sort(sorted.begin(), sorted.end());
  const std::int32_t limit = 3 * sorted[sorted.size() / 2];
  const auto stalls =
      std::count_if(steps.begin(), steps.end(), [&](std::int32_t us) { return us > limit; });
  EXPECT_EQ(run.heard->reply->receipt.stalls, stalls);
  EXPECT_GT(steps[StallingDecoder::kStalls - 1], limit) << "the step that was made to stall";
}

// "abc" and the end are four tokens; the last step finds the prompt and three of them in the pages.
TEST(Timeline, ALastStepReadsThePromptAndAllTokensButItsOwn) {
  fake::Config config;
  config.weights_bytes = 1'000;
  FakeBatch batch(1, config);
  const Running run = batch.run(greedy("abc"));
  const contract::Receipt& receipt = run.heard->reply->receipt;
  ASSERT_EQ(receipt.generated_tokens, 4U);
  EXPECT_EQ(receipt.bytes_per_token, 1'000 + 8 * (receipt.prompt_tokens + 3));
}

}  // namespace
}  // namespace hearth::generate
