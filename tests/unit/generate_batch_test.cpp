// The loop that makes tokens, over the fake model.

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "models/generate/batch.h"
#include "tests/unit/generate_for_test.h"

namespace hearth::generate {
namespace {

contract::Generate random_letters(int count, std::uint64_t seed) {
  contract::Generate request = chat("!random " + std::to_string(count));
  request.temperature = 1.0;
  request.top_p = 0.95;
  request.seed = seed;
  return request;
}

TEST(Batch, StreamsWhatItReplies) {
  FakeBatch batch(1);
  const Running run = batch.submit(greedy("hello wörld"));
  batch.finish();
  ASSERT_TRUE(run.heard->reply);
  EXPECT_EQ(run.heard->reply->text, "hello wörld");
  EXPECT_EQ(run.heard->streamed, "hello wörld");
  EXPECT_EQ(run.heard->reply->stop_reason, "end_token");
  EXPECT_EQ(ids_in(run.heard->reply->token_ids), run.heard->streamed_ids);
  EXPECT_EQ(run.heard->streamed_ids.size(), 12U + 1U);  // bytes and the end token
  EXPECT_EQ(run.heard->ends, 1);
}

TEST(Batch, EndsAtMaxTokensAndShowsAnUnfinishedCharacter) {
  FakeBatch batch(1);
  contract::Generate request = greedy("aé");
  request.max_tokens = 2;
  const Running run = batch.submit(request);
  batch.finish();
  EXPECT_EQ(run.heard->reply->stop_reason, "max_tokens");
  EXPECT_EQ(run.heard->reply->text, "a\xEF\xBF\xBD");
}

TEST(Batch, EndsBeforeAStopStringAcrossTokens) {
  FakeBatch batch(1);
  contract::Generate request = greedy("one two three");
  request.stop = {"o t"};
  const Running run = batch.submit(request);
  batch.finish();
  EXPECT_EQ(run.heard->reply->stop_reason, "stop_string");
  EXPECT_EQ(run.heard->reply->text, "one tw");
  EXPECT_EQ(run.heard->streamed, "one tw");
  EXPECT_EQ(run.heard->reply->receipt.generated_tokens, 9U);
}

TEST(Batch, RunsOnePrefillChunkEachTime) {
  fake::Config config;
  config.prefill_chunk_tokens = 4;
  FakeBatch batch(1, config);
  const Running run = batch.submit(greedy("0123456789"));  // 13 tokens: begin, end, begin added
  int advances = 0;
  for (; run.heard->streamed.empty(); ++advances) ASSERT_TRUE(batch.advance());
  EXPECT_EQ(advances, 4);
  EXPECT_EQ(run.heard->stages, (std::vector<std::string>{"prefill", "decode"}));
}

TEST(Batch, KeepsDecodingWhileALongPromptIsRead) {
  fake::Config config;
  config.prefill_chunk_tokens = 8;
  FakeBatch batch(2, config);
  const Running first = batch.submit(greedy("!count 100"));
  while (first.heard->streamed.empty()) ASSERT_TRUE(batch.advance());
  const Running second = batch.submit(greedy(std::string(100, 'x')));
  while (second.heard->streamed.empty()) {
    const std::size_t before = first.heard->streamed_ids.size();
    ASSERT_TRUE(batch.advance());
    EXPECT_EQ(first.heard->streamed_ids.size(), before + 1);
  }
  batch.finish();
  EXPECT_EQ(second.heard->reply->text, std::string(100, 'x'));
}

TEST(Batch, WaitsForAFreeSlot) {
  FakeBatch batch(2);
  std::vector<Running> runs;
  for (int index = 0; index < 5; ++index)
    runs.push_back(batch.submit(greedy("answer " + std::to_string(index))));
  batch.finish();
  for (int index = 0; index < 5; ++index)
    EXPECT_EQ(runs[static_cast<std::size_t>(index)].heard->reply->text,
              "answer " + std::to_string(index));
}

enum class At { kQueued, kPrefill, kDecode };

class CancelledAt : public testing::TestWithParam<At> {};

TEST_P(CancelledAt, EndsOnceAndFreesTheSlot) {
  fake::Config config;
  config.prefill_chunk_tokens = 4;
  FakeBatch batch(1, config);
  const Running run = batch.submit(greedy("!count 1000"));
  const int advances[] = {0, 1, 20};
  for (int step = 0; step < advances[static_cast<int>(GetParam())]; ++step)
    ASSERT_TRUE(batch.advance());
  EXPECT_EQ(run.heard->streamed.empty(), GetParam() != At::kDecode);
  run.job->cancelled.store(true);
  ASSERT_TRUE(batch.advance());
  ASSERT_TRUE(run.heard->error);
  EXPECT_EQ(run.heard->error->code, Code::kCancelled);
  const Running next = batch.submit(greedy("next"));
  batch.finish();
  EXPECT_EQ(next.heard->reply->text, "next");
  EXPECT_EQ(run.heard->ends, 1);
}

INSTANTIATE_TEST_SUITE_P(EveryStage, CancelledAt,
                         testing::Values(At::kQueued, At::kPrefill, At::kDecode));

TEST(Batch, NamesLogitsThatAreNotFiniteForTheirRowOnly) {
  for (const char* fault : {"!nan 3", "!inf 3", "!nan prefill"}) {
    FakeBatch batch(2);
    const Running bad = batch.submit(greedy(std::string(fault) + " !count 50"));
    const Running good = batch.submit(greedy("!count 50"));
    batch.finish();
    ASSERT_TRUE(bad.heard->error) << fault;
    EXPECT_EQ(bad.heard->error->code, Code::kNotFinite);
    ASSERT_TRUE(good.heard->reply) << fault;
    EXPECT_TRUE(good.heard->reply->text.ends_with(" 49 50"));
  }
}

TEST(Batch, EndsOnlyTheSequenceWhosePrefillOrBeginFails) {
  for (const char* fault : {"!fail begin", "!fail prefill"}) {
    FakeBatch batch(2);
    const Running good = batch.submit(greedy("!count 50"));
    for (int step = 0; step < 5; ++step) ASSERT_TRUE(batch.advance());
    const Running bad = batch.submit(greedy(fault));
    batch.finish();
    ASSERT_TRUE(bad.heard->error) << fault;
    EXPECT_EQ(bad.heard->error->code, Code::kInternal);
    EXPECT_TRUE(good.heard->reply) << fault;
  }
}

// Has many pictures to look at and remembers how many it saw.
class Viewer : public fake::Decoder {
 public:
  using fake::Decoder::Decoder;
  Result<bool> encode_picture(models::OnEngine, std::int32_t) override { return ++seen < 100; }
  int seen = 0;
};

TEST(Batch, SeesACancelBetweenTwoPicturesWhileOthersMakeTheirSteps) {
  const auto on = models::EngineThreadForTest::on_engine();
  const fake::Config config;
  Viewer viewer(config, 2);
  Batch batch(viewer, {"test device", "float32"});
  const auto submit = [&](const char* text, std::uint32_t image_tokens) {
    auto prompt = fake::read_prompt(greedy(text), {}, config);
    (*prompt)->image_tokens = image_tokens;
    Running running{std::make_shared<models::Job>(image_tokens), std::make_shared<Recorder>()};
    batch.submit(on, running.job, *std::move(prompt), running.heard);
    return running;
  };
  const Running talker = submit("!count 90", 0);
  const Running looker = submit("what is this?", 4);
  while (viewer.seen < 3) ASSERT_TRUE(batch.advance(on));
  EXPECT_FALSE(talker.heard->streamed.empty());
  looker.job->cancelled = true;
  ASSERT_TRUE(batch.advance(on));
  ASSERT_TRUE(looker.heard->error);
  EXPECT_EQ(looker.heard->error->code, Code::kCancelled);
  EXPECT_LE(viewer.seen, 3);
}

TEST(Batch, GoesOnAfterAStepThatThrew) {
  FakeBatch batch(2);
  const Running bad = batch.submit(greedy("!fail step 4 !count 50"));
  const Running company = batch.submit(greedy("!count 50"));
  const Running later = batch.submit(greedy("later"));
  batch.finish();
  EXPECT_NE(bad.heard->error->what.find("step 4"), std::string::npos);
  EXPECT_TRUE(company.heard->error);
  EXPECT_EQ(later.heard->reply->text, "later");
}

TEST(Batch, FailsEverySequenceWhenTheDeviceIsLost) {
  FakeBatch batch(2);
  std::vector<Running> runs = {batch.submit(greedy("!lost 4 !count 50")),
                               batch.submit(greedy("!count 50")), batch.submit(greedy("queued"))};
  Result<bool> remaining = true;
  for (int step = 0; remaining && step < 100; ++step) remaining = batch.advance();
  ASSERT_FALSE(remaining);
  for (const Running& run : runs) {
    EXPECT_EQ(run.heard->ends, 1);
    ASSERT_TRUE(run.heard->error);
    EXPECT_EQ(run.heard->error->code, Code::kWorkerLost);
  }
  const Running later = batch.submit(greedy("later"));
  EXPECT_FALSE(batch.advance());
  EXPECT_TRUE(later.heard->error);
}

TEST(Batch, GivesTheSameSeedTheSameTokensAloneAndInCompany) {
  FakeBatch alone(1);
  const Running reference = alone.submit(random_letters(60, 42));
  alone.finish();
  ASSERT_TRUE(reference.heard->reply);
  FakeBatch crowd(4);
  std::vector<Running> others = {crowd.submit(greedy("!count 12")),
                                 crowd.submit(random_letters(30, 7))};
  for (int step = 0; step < 9; ++step) ASSERT_TRUE(crowd.advance());
  const Running same = crowd.submit(random_letters(60, 42));
  others.push_back(crowd.submit(random_letters(60, 43)));
  crowd.finish();
  EXPECT_EQ(same.heard->reply->token_ids, reference.heard->reply->token_ids);
  EXPECT_NE(others.back().heard->reply->token_ids, reference.heard->reply->token_ids);
  const std::string& text = reference.heard->reply->text;
  EXPECT_TRUE(std::any_of(text.begin(), text.end(), [&](char c) { return c != text[0]; })) << text;
}

TEST(Batch, WritesAReceiptOfWhereTheTimeWent) {
  FakeBatch batch(1);
  const Running run = batch.submit(greedy("!wait begin 20 !wait prefill 30 !wait step 2 !count 5"));
  batch.finish();
  const contract::Receipt& receipt = run.heard->reply->receipt;
  EXPECT_GE(receipt.vision_ms, 20.0);
  EXPECT_GE(receipt.prefill_ms, 30.0);
  EXPECT_EQ(receipt.generated_tokens, 10U);  // "1 2 3 4 5" and the end token
  EXPECT_GE(receipt.decode_ms, 9 * 2.0);
  EXPECT_GE(receipt.slowest_token_ms, 2.0);
  EXPECT_NEAR(receipt.tokens_per_second, 9.0 / (receipt.decode_ms / 1000.0), 1e-6);
  const std::vector<std::int32_t> token_us = ids_in(run.heard->reply->token_us);
  ASSERT_EQ(token_us.size(), 10U);
  EXPECT_EQ(token_us.front(), 0);
  EXPECT_NEAR(std::accumulate(token_us.begin(), token_us.end(), 0) / 1000.0, receipt.decode_ms,
              0.001 * static_cast<double>(token_us.size()));
  EXPECT_EQ(receipt.prompt_tokens, ids_in(run.heard->reply->prompt_token_ids).size());
  EXPECT_EQ(receipt.device, "test device");
  EXPECT_EQ(receipt.dtype, "float32");
}

class LongTokens : public TokenBytes {
 public:
  std::string bytes_of(std::int32_t) const override { return std::string(100 * 1024, 'x'); }
};

TEST(Batch, EndsAnAnswerThatNoReplyCouldCarry) {
  FakeBatch batch(1);
  auto prompt = fake::read_prompt(greedy("!count 10"), {}, batch.config());
  ASSERT_TRUE(prompt);
  (*prompt)->vocabulary = std::make_shared<LongTokens>();
  const Running run = batch.submit(*std::move(prompt));
  batch.finish();
  EXPECT_EQ(run.heard->reply->text.size(), 200U * 1024U);
  EXPECT_EQ(run.heard->reply->stop_reason, "max_tokens");
  EXPECT_EQ(run.heard->reply->warnings.size(), 1U);
}

}  // namespace
}  // namespace hearth::generate
