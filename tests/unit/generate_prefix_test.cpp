// What is not computed twice: prompts that begin as others did, over the fake model.

#include <numeric>

#include <gtest/gtest.h>

#include "models/generate/batch.h"
#include "tests/unit/generate_for_test.h"

namespace hearth::generate {
namespace {

// A picture of a few tokens: one for 1024 pixels.
class Picture {
 public:
  Picture(std::int64_t tokens, int seed) : pixels_(static_cast<std::size_t>(tokens) * 1024) {
    for (std::size_t at = 0; at < pixels_.size(); ++at)
      pixels_[at] = static_cast<std::byte>(at * 7 + static_cast<std::size_t>(seed));
    view_ = {DType::kU8, {tokens * 32, 32, 1}, pixels_};
  }
  std::span<const TensorView> views() const { return {&view_, 1}; }

 private:
  std::vector<std::byte> pixels_;
  TensorView view_;
};

std::uint32_t cached_tokens(const Running& run) {
  EXPECT_TRUE(run.heard->reply) << (run.heard->error ? run.heard->error->what : "no end");
  return run.heard->reply ? run.heard->reply->receipt.cached_tokens : 0;
}

// Of a chat of one text: its bytes after the mark of its beginning, then the marks of its end and
// of the answer's beginning.
constexpr std::uint32_t kMark = 1;

TEST(Prefix, ComputesOnlyTheLastTokenOfAPromptSentAgain) {
  FakeBatch batch(2);
  const std::string text(100, 'a');
  const Running first = batch.run(greedy(text));
  const Running again = batch.run(greedy(text));
  EXPECT_EQ(cached_tokens(first), 0U);
  EXPECT_EQ(cached_tokens(again), 100U + 2 * kMark);
  EXPECT_EQ(again.heard->reply->token_ids, first.heard->reply->token_ids);
  EXPECT_EQ(batch.prefix_cache().hits, 1U);
  EXPECT_EQ(batch.prefix_cache().misses, 1U);
}

TEST(Prefix, ComputesOnlyTheQuestionAfterTheSamePicture) {
  FakeBatch batch(2);
  const Picture picture(50, 1);
  const Running first = batch.run(with_picture(greedy("what is it?")), picture.views());
  const Running second = batch.run(with_picture(greedy("where is it?")), picture.views());
  EXPECT_EQ(cached_tokens(second), kMark + 50 + std::string("wh").size());
  EXPECT_EQ(second.heard->reply->receipt.cached_pictures, 1U);
  EXPECT_EQ(first.heard->reply->receipt.cached_pictures, 0U);
  EXPECT_TRUE(second.heard->reply->text.ends_with("where is it?"));
}

TEST(Prefix, TellsPicturesOfTheSameSizeApart) {
  FakeBatch batch(2);
  const Picture one(50, 1);
  const Picture other(50, 2);
  batch.run(with_picture(greedy("what is it?")), one.views());
  const Running run = batch.run(with_picture(greedy("what is it?")), other.views());
  EXPECT_EQ(cached_tokens(run), kMark);
  EXPECT_EQ(run.heard->reply->receipt.cached_pictures, 0U);
}

TEST(Prefix, GoesOnFromTheAnswerOfTheTurnBefore) {
  FakeBatch batch(1);
  contract::Generate request = greedy("!count 40");
  const Running first = batch.run(request);
  contract::ChatMessage answer = request.messages[0];
  answer.role = "assistant";
  answer.content[0].text = first.heard->reply->text;
  contract::ChatMessage next = chat("and then?").messages[0];
  request.messages.push_back(answer);
  request.messages.push_back(next);
  const Running second = batch.run(request);
  // All but the end token, which was drawn but not computed on.
  EXPECT_EQ(cached_tokens(second), 3 * kMark + 9 + first.heard->reply->text.size());
}

TEST(Prefix, SharesNothingBetweenUsers) {
  FakeBatch batch(1);
  const std::string text(100, 'a');
  batch.run(greedy(text), {}, 1);
  EXPECT_EQ(cached_tokens(batch.run(greedy(text), {}, 2)), 0U);
  EXPECT_EQ(cached_tokens(batch.run(greedy(text), {}, 1)), 102U);
}

TEST(Prefix, ComputesAPictureOnceForQuestionsSentTogether) {
  FakeBatch batch(4);
  const Picture picture(200, 1);
  std::vector<Running> runs;
  for (const char* question : {"a?", "b?", "c?", "d?"})
    runs.push_back(batch.submit(with_picture(greedy(question)), picture.views()));
  batch.finish();
  std::uint32_t computed = 0;
  for (const Running& run : runs)
    computed += run.heard->reply->receipt.prompt_tokens - cached_tokens(run);
  EXPECT_LE(computed, 205U + 3 * 32U) << "all but the page in which they part";
  EXPECT_GE(runs[3].heard->reply->receipt.cached_tokens, 192U);
}

TEST(Prefix, CountsTheWaitForAnothersPromptAsQueue) {
  FakeBatch batch(2);
  const std::string text = "!wait prefill 20 " + std::string(100, 'a');
  const Running first = batch.submit(greedy(text + "1"));
  const Running second = batch.submit(greedy(text + "2"));
  batch.finish();
  EXPECT_LT(first.heard->reply->receipt.queue_ms, 20.0);
  EXPECT_GE(second.heard->reply->receipt.queue_ms, 20.0);
}

TEST(Prefix, DoesNotLetOthersWaitForAPromptThatIsCancelled) {
  fake::Config config;
  config.prefill_chunk_tokens = 8;
  FakeBatch batch(2, config);
  const Running first = batch.submit(greedy(std::string(200, 'a') + "1"));
  const Running second = batch.submit(greedy(std::string(200, 'a') + "2"));
  for (int step = 0; step < 5; ++step) ASSERT_TRUE(batch.advance());
  first.job->cancelled = true;
  batch.finish();
  EXPECT_EQ(first.heard->error->code, Code::kCancelled);
  EXPECT_EQ(cached_tokens(second), 32U) << "what was computed until then";
}

TEST(Prefix, LeavesEncodingsAlone) {
  FakeBatch batch(1);
  const std::string text(100, 'a');
  batch.run(greedy(text));
  const contract::CacheEntry before = batch.prefix_cache();
  const Running run = batch.submit(encode(text, {0}));
  batch.finish();
  ASSERT_TRUE(run.heard->encoding);
  EXPECT_EQ(run.heard->encoding->reply.receipt.cached_tokens, 0U);
  EXPECT_EQ(batch.prefix_cache().entries, before.entries);
  EXPECT_EQ(batch.prefix_cache().misses, before.misses);
}

TEST(Prefix, KeepsNothingOfASequenceThatFailed) {
  for (const char* fault : {"!nan prefill", "!nan 40", "!fail step 40", "!fail prefill"}) {
    FakeBatch batch(1);
    const Running run =
        batch.submit(greedy(std::string(fault) + " !count 50 " + std::string(100, 'x')));
    batch.finish();
    ASSERT_TRUE(run.heard->error) << fault;
    EXPECT_EQ(batch.prefix_cache().entries, 0U) << fault;
    EXPECT_EQ(batch.pages().free_pages(), batch.pages().pages()) << fault;
  }
}

TEST(Batch, CaptionsManyPicturesInSixteenSlots) {
  constexpr int kPictures = 40;
  BatchOver<Watched> batch(16);
  std::vector<Picture> pictures;
  for (int index = 0; index < kPictures; ++index) pictures.emplace_back(20 + index % 7, index);
  std::vector<Running> runs;
  for (const Picture& picture : pictures)
    runs.push_back(batch.submit(with_picture(greedy("describe it")), picture.views()));
  batch.finish();
  EXPECT_EQ(batch.decoder().most_rows, 16U);
  for (std::size_t index = 0; index < runs.size(); ++index) {
    FakeBatch alone(1);
    const Running reference =
        alone.run(with_picture(greedy("describe it")), pictures[index].views());
    EXPECT_EQ(runs[index].heard->reply->text, reference.heard->reply->text);
  }
}

TEST(Batch, IgnoresTokensThatComeAfterAStopString) {
  BatchOver<LateDecoder> batch(1);
  contract::Generate request = greedy("one two three four");
  request.stop = {"two"};
  const Running stopped = batch.submit(request);
  const Running next = batch.submit(greedy("five six"));
  batch.finish();
  EXPECT_EQ(stopped.heard->reply->text, "one ");
  EXPECT_EQ(next.heard->reply->text, "five six");
}

TEST(Batch, GivesTheSameAnswersWhenTokensAreHeardOfLate) {
  FakeBatch prompt_one(3);
  BatchOver<LateDecoder> late(3);
  std::vector<Running> expected;
  std::vector<Running> heard;
  for (int index = 0; index < 7; ++index) {
    contract::Generate request = chat("!random " + std::to_string(10 + 5 * index));
    request.temperature = 1.0;
    request.seed = static_cast<std::uint64_t>(index);
    request.max_tokens = 20;
    expected.push_back(prompt_one.submit(request));
    heard.push_back(late.submit(request));
  }
  prompt_one.finish();
  late.finish();
  for (std::size_t index = 0; index < heard.size(); ++index)
    EXPECT_EQ(heard[index].heard->reply->token_ids, expected[index].heard->reply->token_ids);
}

}  // namespace
}  // namespace hearth::generate
