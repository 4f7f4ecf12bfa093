// Answers that are kept for their keys: how many, how large, how long.
#include <gtest/gtest.h>

#include "daemon/broker/recent.h"

namespace hearth::broker {
namespace {

class RecentTest : public testing::Test {
 protected:
  void keep(uid_t user, const std::string& word, std::size_t n_bytes = 10) {
    recent.keep({user, word}, {1, std::string(n_bytes, 'x')}, now);
  }
  bool has(uid_t user, const std::string& word) {
    return recent.find_answer({user, word}, now) != nullptr;
  }

  Recent recent{{.user_answers = 3, .user_bytes = 1000, .all_bytes = 2500}};
  TimePoint now = TimePoint(std::chrono::hours(1));
};

TEST_F(RecentTest, AnswersOfAUserAreBoundedInNumberTheOldestGoFirst) {
  for (const char* word : {"a", "b", "c", "d"}) keep(1, word);
  keep(2, "a");
  EXPECT_FALSE(has(1, "a"));
  EXPECT_TRUE(has(1, "b") && has(1, "c") && has(1, "d"));
  EXPECT_TRUE(has(2, "a"));
}

TEST_F(RecentTest, AnswersOfAUserAreBoundedInBytes) {
  keep(1, "a", 500);
  keep(1, "b", 400);
  keep(1, "c", 400);
  EXPECT_FALSE(has(1, "a"));
  EXPECT_TRUE(has(1, "b") && has(1, "c"));
  keep(1, "d", 1001);
  EXPECT_FALSE(has(1, "d"));
  EXPECT_TRUE(has(1, "b") && has(1, "c"));
}

TEST_F(RecentTest, AnswersOfAllAreBoundedInBytes) {
  for (uid_t user = 1; user <= 3; ++user) keep(user, "a", 900);
  EXPECT_FALSE(has(1, "a"));
  EXPECT_TRUE(has(2, "a") && has(3, "a"));
  EXPECT_LE(recent.bytes(), 2500u);
}

TEST_F(RecentTest, AnswersGoAfterAMinute) {
  keep(1, "a");
  now += std::chrono::seconds(30);
  keep(1, "b");
  EXPECT_EQ(recent.expire(now), now + std::chrono::seconds(30));
  now += std::chrono::seconds(30);
  EXPECT_FALSE(has(1, "a"));
  EXPECT_TRUE(has(1, "b"));
  now += std::chrono::seconds(30);
  EXPECT_EQ(recent.expire(now), std::nullopt);
  EXPECT_EQ(recent.bytes(), 0u);
}

TEST_F(RecentTest, AnAnswerUnderTheSameKeyTakesTheEarliersPlace) {
  keep(1, "a", 900);
  keep(1, "a", 800);
  EXPECT_EQ(recent.answers(), 1u);
  EXPECT_EQ(recent.bytes(), 801u);
}

TEST_F(RecentTest, AJobThatNoLongerStandsForItsKeyDoesNotEndAnothers) {
  recent.begin({1, "a"}, {7, 1});
  recent.begin({1, "a"}, {8, 1});
  recent.end({1, "a"}, 7);
  ASSERT_NE(recent.find_running({1, "a"}), nullptr);
  EXPECT_EQ(recent.find_running({1, "a"})->job, 8u);
  EXPECT_EQ(recent.find_running({2, "a"}), nullptr);
  recent.end({1, "a"}, 8);
  EXPECT_EQ(recent.find_running({1, "a"}), nullptr);
}

}  // namespace
}  // namespace hearth::broker
