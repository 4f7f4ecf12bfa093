// Who gets slots and pages, and whose prompt is worked on next.

#include <algorithm>

#include <gtest/gtest.h>

#include "models/generate/batch.h"
#include "tests/unit/generate_for_test.h"

namespace hearth::generate {
namespace {

fake::Config small_pool(std::int32_t pages) {
  fake::Config config;
  config.page_tokens = 8;
  config.pages = pages;
  return config;
}

contract::Generate limited(std::string text, std::int32_t max_tokens) {
  contract::Generate request = greedy(std::move(text));
  request.max_tokens = max_tokens;
  return request;
}

TEST(Admission, RefusesWhatCanNeverFitWithTheNumbers) {
  FakeBatch batch(2, small_pool(10));
  const Running run = batch.submit(limited(std::string(60, 'a'), 19));
  ASSERT_TRUE(run.heard->error);
  EXPECT_EQ(run.heard->error->code, Code::kOutOfMemory);
  for (const char* number : {"63 tokens", "max_tokens 19", "80 tokens"})
    EXPECT_NE(run.heard->error->what.find(number), std::string::npos) << run.heard->error->what;
  EXPECT_EQ(batch.run(limited(std::string(60, 'a'), 18)).heard->ends, 1);
  const Running fits = batch.run(limited(std::string(60, 'a'), 18));
  EXPECT_TRUE(fits.heard->reply) << "63 tokens and 17 that are computed on fill ten pages";
}

TEST(Admission, GivesUpTheCacheWhenRoomIsNeeded) {
  FakeBatch batch(2, small_pool(10));
  for (char letter = 'a'; letter <= 'f'; ++letter) {
    EXPECT_TRUE(batch.run(limited(std::string(60, letter), 18)).heard->reply);
    const contract::CacheEntry cache = batch.prefix_cache();
    EXPECT_LE(cache.entries, 10U);
    EXPECT_EQ(cache.budget_bytes, 10U * 8U * sizeof(std::uint64_t));
    EXPECT_EQ(batch.pages().free_pages() + batch.pages().idle_pages(), 10);
  }
}

TEST(Admission, LetsSmallOnesPassOneThatWaitsButNotForEver) {
  BatchOver<Watched> batch(3, small_pool(12));
  // Holds pages, so that the large one has to wait.
  const Running holder = batch.submit(limited("!count 99", 40));
  ASSERT_TRUE(batch.advance());
  const Running large = batch.submit(limited(std::string(70, 'L'), 10));
  std::vector<Running> small;
  for (int index = 0; index < 30; ++index)
    small.push_back(batch.submit(limited("s" + std::to_string(index), 2)));
  batch.finish();
  EXPECT_TRUE(holder.heard->reply && large.heard->reply);
  for (const Running& run : small) EXPECT_TRUE(run.heard->reply);
  const auto& begun = batch.decoder().begun;
  const auto of_large = std::find(begun.begin(), begun.end(), 73U);
  EXPECT_EQ(of_large - begun.begin(), 1 + 8) << "the holder, and as many as may overtake";
}

TEST(PrefillOrder, TakesShortChunksWhileOthersDecodeAndLongOnesAlone) {
  BatchOver<Watched> batch(2);
  const Running talker = batch.submit(greedy("!count 30"));
  while (talker.heard->streamed.empty()) ASSERT_TRUE(batch.advance());
  batch.decoder().chunks.clear();
  const Running reader = batch.submit(greedy(std::string(1000, 'r')));
  while (reader.heard->streamed.empty()) ASSERT_TRUE(batch.advance());
  for (const Chunk& chunk : batch.decoder().chunks) EXPECT_LE(chunk.count, kSharedChunkTokens);
  batch.finish();
  batch.decoder().chunks.clear();
  batch.run(greedy(std::string(1000, 'q')));
  EXPECT_EQ(batch.decoder().chunks.front().count, 512);
}

TEST(PrefillOrder, LetsAShortPromptPassALongOne) {
  fake::Config config;
  config.prefill_chunk_tokens = 16;
  FakeBatch batch(2, config);
  const Running long_one = batch.submit(greedy(std::string(3000, 'l')));
  for (int step = 0; step < 5; ++step) ASSERT_TRUE(batch.advance());
  const Running short_one = batch.submit(greedy("hi"));
  ASSERT_TRUE(batch.advance());
  EXPECT_FALSE(short_one.heard->streamed.empty());
  EXPECT_TRUE(long_one.heard->streamed.empty());
  batch.finish();
}

TEST(PrefillOrder, LetsALongPromptWaitForNoMoreThanItsOwnLength) {
  fake::Config config;
  config.prefill_chunk_tokens = 16;
  BatchOver<Watched> batch(3, config);
  const Running long_one = batch.submit(greedy(std::string(600, 'l')));
  std::int32_t others = 0;
  int number = 0;
  while (long_one.heard->streamed.empty()) {
    // Two short prompts are always at hand.
    while (batch.pages().free_pages() >= 0 &&
           number < 2 + static_cast<int>(batch.decoder().chunks.size()))
      batch.submit(limited(std::to_string(number++) + std::string(40, 's'), 1));
    ASSERT_TRUE(batch.advance());
    others = 0;
    for (const Chunk& chunk : batch.decoder().chunks) others += chunk.slot == 0 ? 0 : chunk.count;
    ASSERT_LT(batch.decoder().chunks.size(), 400U) << "the long prompt starves";
  }
  EXPECT_LE(others, 603 + 3 * 50);
  batch.finish();
}

}  // namespace
}  // namespace hearth::generate
