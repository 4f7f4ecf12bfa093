// Several answers to one request, over the fake model.
#include <algorithm>

#include <gtest/gtest.h>

#include "tests/unit/generate_for_test.h"

namespace hearth::generate {
namespace {

contract::Generate letters(int count, std::int32_t answers, std::uint64_t seed = 7) {
  contract::Generate request = chat("!random " + std::to_string(count));
  request.temperature = 1.0;
  request.top_p = 1.0;
  request.seed = seed;
  request.answers = answers;
  return request;
}

// All texts of a reply, the first answer's first.
std::vector<std::string> texts_of(const Running& run) {
  EXPECT_TRUE(run.heard->reply) << (run.heard->error ? run.heard->error->what : "no end");
  if (!run.heard->reply) return {};
  std::vector<std::string> texts = {run.heard->reply->text};
  for (const contract::Answer& other : run.heard->reply->others) texts.push_back(other.text);
  return texts;
}

void expect_all_given_back(const PagePool& pages) {
  EXPECT_EQ(pages.free_pages() + pages.idle_pages(), pages.pages());
}

TEST(Answers, TheFirstIsWhatASingleAnswerWouldBeAndNoTwoAreEqual) {
  FakeBatch batch(8);
  const std::vector<std::string> single = texts_of(batch.run(letters(30, 1)));
  std::vector<std::string> four = texts_of(batch.run(letters(30, 4)));
  ASSERT_EQ(four.size(), 4U);
  EXPECT_EQ(four[0], single[0]);
  std::sort(four.begin(), four.end());
  EXPECT_EQ(std::unique(four.begin(), four.end()), four.end());
}

TEST(Answers, AreTheSameInAnyCompanyAndWithAnyNumberOfSlots) {
  FakeBatch wide(8);
  const std::vector<std::string> expected = texts_of(wide.run(letters(30, 5)));
  for (const std::int32_t slots : {1, 2, 5, 12}) {
    FakeBatch batch(slots);
    const Running before = batch.submit(letters(12, 3, 1));
    const Running run = batch.submit(letters(30, 5));
    const Running after = batch.submit(greedy("!count 20"));
    batch.finish();
    EXPECT_EQ(texts_of(run), expected) << slots << " slots";
    EXPECT_EQ(texts_of(before).size(), 3U);
    EXPECT_TRUE(after.heard->reply);
    expect_all_given_back(batch.pages());
  }
}

TEST(Answers, MoreOfThemChangeNoneOfTheFirst) {
  FakeBatch batch(8);
  const std::vector<std::string> two = texts_of(batch.run(letters(30, 2)));
  const std::vector<std::string> eight = texts_of(batch.run(letters(30, 8)));
  EXPECT_TRUE(std::equal(two.begin(), two.end(), eight.begin()));
}

TEST(Answers, StreamEachUnderItsNumber) {
  BatchOver<LateDecoder> batch(3);
  const Running run = batch.run(letters(25, 4));
  const std::vector<std::string> texts = texts_of(run);
  EXPECT_EQ(run.heard->streamed, texts[0]);
  EXPECT_EQ(run.heard->other_texts, std::vector<std::string>(texts.begin() + 1, texts.end()));
  for (const contract::Answer& other : run.heard->reply->others) {
    EXPECT_EQ(other.stop_reason, "end_token");
    EXPECT_EQ(ids_in(other.token_ids).size(), 26U);
    EXPECT_EQ(ids_in(other.token_us).size(), 26U);
  }
}

TEST(Answers, ComputeThePromptOnceOfEveryLength) {
  for (const std::size_t filling : {0, 5, 30, 31, 32, 33, 100}) {
    BatchOver<Watched> batch(4);
    contract::Generate request = letters(8, 4);
    request.messages[0].content[0].text += " " + std::string(filling, 'x');
    const Running run = batch.run(request);
    ASSERT_TRUE(run.heard->reply);
    std::int32_t computed = 0;
    for (const Chunk& chunk : batch.decoder().chunks) computed += chunk.count;
    const auto tokens = static_cast<std::int32_t>(run.heard->reply->receipt.prompt_tokens);
    EXPECT_EQ(computed, tokens + 3) << "the last token, for each other answer's first draw";
  }
}

TEST(Answers, ComeOneAfterTheOtherWhereMemoryHoldsOneAlone) {
  fake::Config config;
  config.page_tokens = 8;
  config.pages = 6;
  FakeBatch batch(4, config);
  contract::Generate request = letters(20, 4);
  request.max_tokens = 30;
  EXPECT_EQ(texts_of(batch.run(request)).size(), 4U);
  expect_all_given_back(batch.pages());
}

TEST(Answers, AreCountedTogetherInTheReceipt) {
  FakeBatch batch(4);
  const Running run = batch.run(letters(10, 4));
  ASSERT_TRUE(run.heard->reply);
  const contract::Receipt& receipt = run.heard->reply->receipt;
  EXPECT_EQ(receipt.generated_tokens, 44U);
  EXPECT_EQ(receipt.cached_tokens, 0U) << "of the first, which computed the prompt";
  EXPECT_GT(receipt.decode_ms, 0.0);
  EXPECT_NEAR(receipt.tokens_per_second * receipt.decode_ms, 43'000.0, 1e-3);
}

TEST(Answers, EndTogetherWhenTheRequestIsCancelled) {
  for (const int advances : {0, 1, 8}) {
    FakeBatch batch(2);
    const Running run = batch.submit(letters(200, 5));
    for (int i = 0; i < advances; ++i) ASSERT_TRUE(batch.advance());
    run.job->cancelled = true;
    ASSERT_TRUE(batch.advance());
    EXPECT_EQ(run.heard->ends, 1);
    ASSERT_TRUE(run.heard->error);
    EXPECT_EQ(run.heard->error->code, Code::kCancelled);
    expect_all_given_back(batch.pages());
    EXPECT_TRUE(batch.run(greedy("next")).heard->reply);
  }
}

TEST(Answers, FailTogetherAndOnlyOnce) {
  for (const char* fault : {"!nan 3", "!fail begin", "!fail prefill", "!fail step 3"}) {
    FakeBatch batch(3);
    contract::Generate request = letters(50, 5);
    request.messages[0].content[0].text = std::string(fault) + " !random 50";
    const Running bad = batch.run(request);
    const Running later = batch.run(greedy("later"));
    EXPECT_EQ(bad.heard->ends, 1) << fault;
    EXPECT_TRUE(bad.heard->error) << fault;
    EXPECT_EQ(later.heard->reply->text, "later") << fault;
    expect_all_given_back(batch.pages());
  }
}

TEST(Answers, AreAllFailedOnceWhenTheDeviceIsLost) {
  FakeBatch batch(2);
  contract::Generate request = letters(50, 4);
  request.messages[0].content[0].text = "!lost 4 !random 50";
  const Running run = batch.submit(request);
  Result<bool> remaining = true;
  for (int step = 0; remaining && step < 100; ++step) remaining = batch.advance();
  EXPECT_FALSE(remaining);
  EXPECT_EQ(run.heard->ends, 1);
  EXPECT_EQ(run.heard->error->code, Code::kWorkerLost);
}

TEST(Answers, LeaveNobodyWaitingForEver) {
  FakeBatch batch(2);
  std::vector<Running> runs;
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    runs.push_back(batch.submit(letters(15, 1 + static_cast<std::int32_t>(seed), seed)));
    runs.push_back(batch.submit(greedy("word " + std::to_string(seed))));
  }
  batch.finish();
  for (const Running& run : runs) EXPECT_TRUE(run.heard->reply);
}

class LongWords : public TokenBytes {
 public:
  std::string bytes_of(std::int32_t) const override { return std::string(20'000, 'x'); }
};

TEST(Answers, ShareTheRoomForTextOfOneReply) {
  auto prompt = std::make_unique<TokenPrompt>();
  prompt->ids = {1};
  prompt->sampling.answers = 2;
  prompt->vocabulary = std::make_shared<LongWords>();
  const auto heard = std::make_shared<Recorder>();
  const auto group =
      std::make_shared<AnswerGroup>(std::make_shared<models::Job>(1), std::move(prompt), heard);
  for (std::uint32_t number = 0; number < 2; ++number) {
    Sequence sequence(group, number, PageChain(SipKey{}, 0, 8));
    int tokens = 1;
    while (!*sequence.accept(7)) ASSERT_LT(++tokens, 20);
    EXPECT_EQ(tokens, 7);
    sequence.finish({"test device", "float32"});
  }
  ASSERT_TRUE(heard->reply);
  EXPECT_EQ(heard->reply->others.at(0).text.size(), 120'000U);
  ASSERT_EQ(heard->reply->warnings.size(), 2U);
  EXPECT_NE(heard->reply->warnings[1].find("Answer 2 ends at 120000 bytes"), std::string::npos);
}

}  // namespace
}  // namespace hearth::generate
