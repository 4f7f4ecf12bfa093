// Nothing is computed twice, and what was computed before gives the same answer.
#include "models/torch/feature_cache.h"
#include "models/torch/tensors.h"
#include "tests/unit/engine_qwen_for_test.h"
#include "tests/unit/engine_requests_for_test.h"

namespace hearth::language {
namespace {

using models::ask;
using models::LoadedModel;
using models::StoredPicture;

// Sixteen tokens of stripes.
StoredPicture striped(std::uint8_t shade) {
  StoredPicture picture = models::plain_picture(64, 64, 3, shade);
  for (std::size_t i = 0; i < picture.bytes.size(); i += 7) picture.bytes[i] = 255;
  return picture;
}

const char* const kLongQuestion =
    "What is to be seen in this picture, and what is there in all the others that were not sent?";

struct Caches : testing::TestWithParam<const char*> {
  LoadedModel model{case_files("shallow_bf16"), GetParam()};

  contract::CacheEntry cache(const std::string& name) {
    for (const auto& entry : model.model().caches(models::EngineThreadForTest::on_engine()))
      if (entry.name == name) return entry;
    ADD_FAILURE() << "no cache called " << name;
    return {};
  }
  // As if nothing had been asked before.
  std::vector<std::int32_t> fresh_answer(const contract::Generate& request,
                                         const std::vector<StoredPicture>& pictures) {
    LoadedModel fresh(case_files("shallow_bf16"), GetParam());
    return generate::ids_in(fresh.answer(request, pictures)->reply->token_ids);
  }
};

TEST_P(Caches, APictureThatWasSeenIsNotSeenAgain) {
  model.answer(ask("What?", 1), {striped(40)});
  // Another picture comes first, so that the prefix is another one.
  const std::vector<StoredPicture> pictures = {striped(90), striped(40)};
  const auto heard = model.answer(ask("And these?", 2), pictures);
  ASSERT_TRUE(heard->reply) << heard->error->what;
  EXPECT_EQ(heard->reply->receipt.cached_pictures, 1U);
  EXPECT_EQ(cache("vision").entries, 2U);
  EXPECT_EQ(cache("vision").hits, 1U);
  EXPECT_EQ(generate::ids_in(heard->reply->token_ids),
            fresh_answer(ask("And these?", 2), pictures));
}

TEST_P(Caches, TheSamePictureTwiceInARequestIsSeenOnce) {
  const std::vector<StoredPicture> pictures = {striped(40), striped(40)};
  const auto heard = model.answer(ask("Are they equal?", 2), pictures);
  ASSERT_TRUE(heard->reply) << heard->error->what;
  EXPECT_EQ(cache("vision").entries, 1U);
  EXPECT_EQ(heard->reply->receipt.cached_pictures, 1U);
}

TEST_P(Caches, APrefixThatWasComputedGivesTheSameAnswer) {
  const contract::Generate request = ask(kLongQuestion, 1);
  const auto first = model.answer(request, {striped(40)});
  const auto again = model.answer(request, {striped(40)});
  ASSERT_TRUE(first->reply && again->reply);
  EXPECT_GT(again->reply->receipt.cached_tokens, 16U);
  EXPECT_EQ(again->reply->receipt.cached_pictures, 1U);
  EXPECT_EQ(again->reply->token_ids, first->reply->token_ids);
}

TEST_P(Caches, AnotherQuestionAboutThePictureGetsItsOwnAnswer) {
  model.answer(ask(kLongQuestion, 1), {striped(40)});
  const contract::Generate other = ask("Is it warm there?", 1);
  const auto heard = model.answer(other, {striped(40)});
  ASSERT_TRUE(heard->reply) << heard->error->what;
  EXPECT_GT(heard->reply->receipt.cached_tokens, 0U);
  EXPECT_EQ(generate::ids_in(heard->reply->token_ids), fresh_answer(other, {striped(40)}));
}

TEST_P(Caches, AnotherUsersPictureIsSeenAgain) {
  const contract::Generate request = ask(kLongQuestion, 1);
  model.answer(request, {striped(40)});
  model.user = 1001;
  const auto heard = model.answer(request, {striped(40)});
  ASSERT_TRUE(heard->reply) << heard->error->what;
  EXPECT_EQ(heard->reply->receipt.cached_pictures, 0U);
  EXPECT_EQ(heard->reply->receipt.cached_tokens, 0U);
  EXPECT_EQ(cache("vision").entries, 2U);
}

TEST_P(Caches, ACancelAfterThePicturesEndsTheRequestAndKeepsThem) {
  const auto heard = model.submit(ask("What?", 1), {striped(40)});
  for (int i = 0; i < 10 && cache("vision").entries == 0; ++i) ASSERT_TRUE(model.advance());
  model.job->cancelled = true;
  model.finish();
  ASSERT_TRUE(heard->error);
  EXPECT_EQ(heard->error->code, Code::kCancelled);
  const auto next = model.answer(ask("What?", 1), {striped(40)});
  ASSERT_TRUE(next->reply) << next->error->what;
  EXPECT_EQ(next->reply->receipt.cached_pictures, 1U);
}

// float32 is exact, so that equal answers are owed to no luck.
INSTANTIATE_TEST_SUITE_P(Qwen3Vl, Caches, testing::Values("float32"),
                         [](const auto& info) { return std::string(info.param); });

struct Formats : testing::TestWithParam<const char*> {};

TEST_P(Formats, AnswerWithAPictureAndALongPrompt) {
  LoadedModel model(case_files("tied_bf16"), GetParam());
  EXPECT_EQ(model.model().dtype(), GetParam());
  std::string words;
  for (int i = 0; i < 60; ++i) words += " word";
  contract::Generate request = ask("What is here?" + words, 1);
  request.max_tokens = 24;
  const auto heard = model.answer(request, {striped(40)});
  ASSERT_TRUE(heard->reply) << heard->error->what;
  EXPECT_GT(heard->reply->receipt.prompt_tokens, 76U);
  EXPECT_EQ(heard->reply->receipt.dtype, GetParam());
  LoadedModel again(case_files("tied_bf16"), GetParam());
  EXPECT_EQ(again.answer(request, {striped(40)})->reply->token_ids, heard->reply->token_ids);
}

INSTANTIATE_TEST_SUITE_P(Qwen3Vl, Formats,
                         testing::Values("float32", "bfloat16", "float8", "int8", "int4"),
                         [](const auto& info) { return std::string(info.param); });

// --- the cache itself ---

using engine::FeatureCache;

FeatureCache::Entry features_of(std::int64_t floats) {
  engine::Features features;
  features.rows =
      engine::from_floats(std::vector<float>(static_cast<std::size_t>(floats)), {1, floats});
  return std::make_shared<const engine::Features>(std::move(features));
}

FeatureCache::Key key(std::uint64_t content, std::uint32_t user = 0) {
  return {{content, 0}, user};
}

TEST(FeatureCache, TheLeastRecentlyUsedLeaveWhenTheBudgetIsSpent) {
  FeatureCache cache(3 * 400);
  for (std::uint64_t i = 1; i <= 3; ++i) cache.insert(key(i), features_of(100));
  const FeatureCache::Entry held = cache.find(key(2));
  EXPECT_NE(cache.find(key(1)), nullptr);
  cache.insert(key(4), features_of(150));  // takes the place of two
  EXPECT_EQ(cache.find(key(3)), nullptr);
  EXPECT_EQ(cache.find(key(2)), nullptr);
  EXPECT_NE(cache.find(key(1)), nullptr);
  EXPECT_EQ(held->rows.numel(), 100) << "who holds an entry keeps it";
  const generate::CacheUse use = cache.use();
  EXPECT_EQ(use.entries, 2U);
  EXPECT_EQ(use.bytes, 1000U);
  EXPECT_EQ(use.hits, 3U);
  EXPECT_EQ(use.misses, 4U) << "each that had to be computed";
}

TEST(FeatureCache, WhatIsLargerThanTheBudgetIsNotKept) {
  FeatureCache cache(399);
  cache.insert(key(1), features_of(100));
  EXPECT_EQ(cache.find(key(1)), nullptr);
  EXPECT_EQ(cache.use().bytes, 0U);
}

TEST(FeatureCache, UsersDoNotMeet) {
  FeatureCache cache(4000);
  cache.insert(key(1, 7), features_of(100));
  EXPECT_EQ(cache.find(key(1, 8)), nullptr);
  EXPECT_NE(cache.find(key(1, 7)), nullptr);
}

}  // namespace
}  // namespace hearth::language
