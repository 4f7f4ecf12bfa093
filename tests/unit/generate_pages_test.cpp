// Pages, their keys and the prefix cache, without a model.

#include <numeric>
#include <string_view>

#include <gtest/gtest.h>

#include "models/generate/page_chain.h"
#include "models/generate/pages.h"
#include "models/generate/prefix_cache.h"
#include "models/generate/siphash.h"

namespace hearth::generate {
namespace {

constexpr SipKey kKey = {0x0706050403020100, 0x0F0E0D0C0B0A0908};

// The first inputs 00 01 02 … of the authors' own vectors (vectors.h of their reference).
TEST(SipHash, GivesTheAuthorsVectors) {
  std::array<std::byte, 16> input;
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<std::byte>(i);
  const std::span<const std::byte> bytes = input;
  EXPECT_EQ(siphash64(kKey, bytes.first(0)), 0x726fdb47dd0e0e31U);
  EXPECT_EQ(siphash64(kKey, bytes.first(1)), 0x74f839c593dc67fdU);
  EXPECT_EQ(siphash64(kKey, bytes.first(8)), 0x93f5f5799a932462U);
  EXPECT_EQ(siphash64(kKey, bytes.first(15)), 0xa129ca6149be45e5U);  // the paper's appendix
  using Pair = std::array<std::uint64_t, 2>;
  EXPECT_EQ(siphash128(kKey, bytes.first(0)), (Pair{0xe6a825ba047f81a3, 0x930255c71472f66d}));
  EXPECT_EQ(siphash128(kKey, bytes.first(1)), (Pair{0x44af996bd8c187da, 0x45fc229b11597634}));
}

TEST(PagePool, KnowsFreeUsedAndIdlePages) {
  PagePool pool(2);
  const std::int32_t page = pool.take();
  pool.keep(page);
  pool.add_use(page);
  pool.drop_use(page);
  EXPECT_EQ(pool.idle_pages(), 0);
  pool.drop_use(page);
  EXPECT_EQ(pool.idle_pages(), 1);
  EXPECT_EQ(pool.free_pages(), 1);
  pool.add_use(page);
  EXPECT_EQ(pool.idle_pages(), 0);
  pool.forget(page);
  EXPECT_EQ(pool.free_pages(), 1);
  pool.drop_use(page);
  EXPECT_EQ(pool.free_pages(), 2);
}

constexpr std::int32_t kPageTokens = 4;

TokenPrompt prompt_of(std::vector<std::int32_t> ids, std::vector<MediaKey> media = {}) {
  TokenPrompt prompt;
  prompt.ids = std::move(ids);
  prompt.media = std::move(media);
  return prompt;
}

PageChain chain_of(const TokenPrompt& prompt, std::uint32_t user = 0, const SipKey& key = kKey) {
  PageChain chain(key, user, kPageTokens);
  chain.add_prompt(prompt);
  return chain;
}

TEST(PageChain, GivesEqualTokensEqualKeysAndOthersOthers) {
  const auto chain = chain_of(prompt_of({1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(chain.whole_pages(), 2);
  EXPECT_EQ(chain.units(2).size(), 1U);
  const auto longer = chain_of(prompt_of({1, 2, 3, 4, 5, 6, 7, 8, 10, 11}));
  EXPECT_EQ(longer.key(1), chain.key(1));
  const auto other = chain_of(prompt_of({0, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_NE(other.key(0), chain.key(0));
  EXPECT_NE(other.key(1), chain.key(1)) << "the second page has the same tokens after others";
}

TEST(PageChain, DependsOnTheUserAndOnTheHashKey) {
  const TokenPrompt prompt = prompt_of({1, 2, 3, 4});
  EXPECT_NE(chain_of(prompt, 0).key(0), chain_of(prompt, 1).key(0));
  EXPECT_NE(chain_of(prompt, 0).before(0), chain_of(prompt, 1).before(0));
  EXPECT_NE(chain_of(prompt, 0).key(0), chain_of(prompt, 0, {1, 2}).key(0));
}

TEST(PageChain, KnowsAPicturesTokensByContentAndPlaceInIt) {
  const std::vector<std::int32_t> ids = {1, 9, 9, 9, 9, 9, 9, 2};
  const auto with = [&](std::int32_t first, std::uint64_t content) {
    return chain_of(prompt_of(ids, {{first, 6, {content, 0}}}));
  };
  EXPECT_EQ(with(1, 5).key(1), with(1, 5).key(1));
  EXPECT_NE(with(1, 5).key(0), with(1, 6).key(0));
  EXPECT_NE(with(1, 5).key(0), chain_of(prompt_of(ids)).key(0));
  EXPECT_NE(with(1, 5).key(0), with(2, 5).key(0));
  const auto two = chain_of(prompt_of(ids, {{1, 3, {5, 0}}, {4, 3, {5, 0}}}));
  EXPECT_EQ(two.units(0)[1], two.units(1)[0]) << "the same picture twice begins twice";
  EXPECT_NE(two.units(0)[2], two.units(1)[0]);
}

TEST(PageChain, GoesOnWithTheAnswerAsAPromptThatHoldsIt) {
  auto chain = chain_of(prompt_of({1, 2, 3}));
  chain.add_answer(std::vector<std::int32_t>{4, 5, 6, 7, 8});
  EXPECT_EQ(chain.key(1), chain_of(prompt_of({1, 2, 3, 4, 5, 6, 7, 8})).key(1));
}

// A pool and a cache, filled as ended sequences do.
class Cache {
 public:
  explicit Cache(std::int32_t pages) : pool(pages), cache(pool) {}

  // A sequence of these tokens has come and gone.
  std::vector<std::int32_t> add(const std::vector<std::int32_t>& ids) {
    const auto chain = chain_of(prompt_of(ids));
    const auto count = (chain.tokens() + kPageTokens - 1) / kPageTokens;
    cache.make_room(count);
    std::vector<std::int32_t> pages;
    for (std::int32_t i = 0; i < count; ++i) pages.push_back(pool.take());
    for (std::int32_t i = 0; i < count; ++i)
      cache.keep(chain, i, pages[static_cast<std::size_t>(i)]);
    cache.release(pages);
    return pages;
  }
  PrefixCache::Match find(const std::vector<std::int32_t>& ids) const {
    return cache.find(chain_of(prompt_of(ids)), static_cast<std::int32_t>(ids.size()) - 1);
  }

  PagePool pool;
  PrefixCache cache;
};

TEST(PrefixCache, FindsWholePagesAndTheBeginningOfTheNext) {
  Cache cache(8);
  const auto pages = cache.add({1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  const auto match = cache.find({1, 2, 3, 4, 5, 6, 0, 0, 0});
  EXPECT_EQ(match.pages, std::vector<std::int32_t>{pages[0]});
  EXPECT_EQ(match.copy_from, pages[1]);
  EXPECT_EQ(match.copy_tokens, 2);
}

TEST(PrefixCache, LeavesTheLastTokenOfAPromptToBeComputed) {
  Cache cache(8);
  const auto pages = cache.add({1, 2, 3, 4, 5, 6, 7, 8});
  const auto match = cache.find({1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_EQ(match.pages, std::vector<std::int32_t>{pages[0]});
  EXPECT_EQ(match.copy_from, pages[1]);
  EXPECT_EQ(match.copy_tokens, 3);
  EXPECT_EQ(cache.find({1}).copy_tokens, 0);
}

TEST(PrefixCache, CopiesFromThePageThatGoesOnLongest) {
  Cache cache(8);
  cache.add({1, 2, 3, 4, 5});
  const auto pages = cache.add({1, 2, 3, 4, 6, 7, 8});
  const auto match = cache.find({1, 2, 3, 4, 6, 7, 9});
  EXPECT_EQ(match.copy_from, pages[1]);
  EXPECT_EQ(match.copy_tokens, 2);
}

TEST(PrefixCache, KeepsNothingTwice) {
  Cache cache(8);
  cache.add({1, 2, 3, 4, 5});
  cache.add({1, 2, 3, 4, 5, 6});
  EXPECT_EQ(cache.cache.entries(), 2) << "the longer second page takes the place of the shorter";
  cache.add({1, 2, 3, 4, 5});
  EXPECT_EQ(cache.cache.entries(), 2);
  EXPECT_EQ(cache.pool.free_pages() + cache.pool.idle_pages(), 8);
}

TEST(PrefixCache, GivesBackTheLeastRecentlyUsedAndTheEndOfItFirst) {
  Cache cache(6);
  const auto first = cache.add({1, 1, 1, 1, 1, 1, 1, 1});
  const auto second = cache.add({2, 2, 2, 2, 2, 2, 2, 2});
  for (const std::int32_t page : first) cache.pool.add_use(page);
  cache.cache.release(first);
  std::int32_t room = 2;
  for (const std::int32_t page : {second[1], second[0], first[1], first[0]}) {
    EXPECT_TRUE(cache.pool.kept(page)) << room;
    cache.cache.make_room(++room);
    EXPECT_FALSE(cache.pool.kept(page)) << room;
    EXPECT_EQ(cache.pool.free_pages(), room);
  }
}

TEST(PrefixCache, NeverGivesBackWhatIsInUse) {
  Cache cache(4);
  const auto pages = cache.add({1, 2, 3, 4, 5, 6, 7, 8});
  cache.pool.add_use(pages[1]);
  cache.cache.make_room(3);
  EXPECT_EQ(cache.pool.free_pages(), 3);
  EXPECT_TRUE(cache.pool.kept(pages[1]));
  cache.cache.release({&pages[1], 1});
  cache.cache.make_room(4);
  EXPECT_EQ(cache.pool.free_pages(), 4);
}

TEST(PrefixCache, ForgetsWhatCannotBeTrusted) {
  Cache cache(4);
  const auto pages = cache.add({1, 2, 3, 4, 5, 6, 7, 8});
  cache.cache.forget(pages);
  EXPECT_TRUE(cache.find({1, 2, 3, 4, 5}).pages.empty());
  EXPECT_EQ(cache.pool.free_pages(), 4);
}

}  // namespace
}  // namespace hearth::generate
