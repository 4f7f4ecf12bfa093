// The rings: what is kept, for whom, and how much of it fits into a reply.

#include <algorithm>

#include <gtest/gtest.h>

#include "daemon/broker/handover/fields.h"
#include "daemon/broker/handover/format.h"
#include "daemon/broker/records.h"
#include "shm/frame.h"

namespace hearth::broker {
namespace {

contract::RequestRecord record(std::uint64_t number, uid_t user = 1000) {
  contract::RequestRecord made;
  made.request = number;
  made.kind = "generate";
  made.uid = user;
  return made;
}

// As long as the contract lets one be.
contract::RequestRecord longest(std::uint64_t number) {
  contract::RequestRecord made = record(number);
  made.name = std::string(256, 'n');
  made.client = std::string(128, 'c');
  made.code = std::string(32, 'e');
  made.what = std::string(1024, 'w');
  made.request = number;
  contract::Receipt& receipt = made.receipt;
  receipt.evicted.assign(64, std::string(256, 'm'));
  receipt.device = std::string(256, 'd');
  receipt.dtype = std::string(16, 't');
  receipt.model = std::string(64, 'i');
  receipt.device_state.source = std::string(256, 's');
  receipt.device_state.throttled_by.assign(16, "hardware_slowdown");
  receipt.device_state.power_w = receipt.device_state.power_limit_w = 1e300;
  receipt.device_state.memory_used_bytes = receipt.device_state.memory_total_bytes = ~0ull;
  receipt.device_state.torch_used_bytes = receipt.device_state.torch_kept_bytes = ~0ull;
  receipt.bytes_per_token = ~0ull;
  return made;
}

std::vector<std::uint64_t> numbers(const contract::RequestList& list) {
  std::vector<std::uint64_t> found;
  for (const auto& each : list.requests) found.push_back(each.request);
  return found;
}

using Numbers = std::vector<std::uint64_t>;

TEST(RecordsTest, TheLatestComeFirstWhateverEndedFirst) {
  Records records;
  for (const std::uint64_t number : {2, 5, 3}) records.add(record(number));
  EXPECT_EQ(numbers(records.page(0, 256, {})), (Numbers{5, 3, 2}));
  EXPECT_FALSE(records.page(0, 256, {}).more);
}

TEST(RecordsTest, PagesJoinWithoutAGap) {
  Records records;
  for (std::uint64_t number = 1; number <= 5; ++number) records.add(record(number));
  const auto first = records.page(0, 2, {});
  EXPECT_EQ(numbers(first), (Numbers{5, 4}));
  EXPECT_TRUE(first.more);
  const auto last = records.page(4, 3, {});
  EXPECT_EQ(numbers(last), (Numbers{3, 2, 1}));
  EXPECT_FALSE(last.more);
  EXPECT_TRUE(records.page(1, 3, {}).requests.empty());
}

TEST(RecordsTest, AUserSeesItsOwn) {
  Records records;
  records.add(record(1, 1000));
  records.add(record(2, 1001));
  records.add(record(3, 1000));
  EXPECT_EQ(numbers(records.page(0, 256, 1000)), (Numbers{3, 1}));
  EXPECT_FALSE(records.page(0, 1, 1001).more) << "another user's are no reason to ask again";
}

TEST(RecordsTest, TheOldestLeaveWhenThereAreMoreThan4096) {
  Records records;
  for (std::uint64_t number = 1; number <= Records::kMost + 10; ++number)
    records.add(record(number));
  EXPECT_EQ(records.all().size(), Records::kMost);
  EXPECT_EQ(records.all().begin()->first, 11u);
}

TEST(RecordsTest, OneUsersFloodPushesNobodyElsesOut) {
  Records records;
  std::uint64_t number = 0;
  const std::size_t share = Records::kMost / 3;
  for (std::size_t i = 0; i < share; ++i)
    for (const uid_t user : {1001, 1002}) records.add(record(++number, user));
  for (std::size_t i = 0; i < 3 * Records::kMost; ++i) records.add(record(++number, 1000));
  EXPECT_EQ(records.all().size(), Records::kMost);
  const auto of = [&](uid_t user) {
    return std::count_if(records.all().begin(), records.all().end(),
                         [&](const auto& each) { return each.second.uid == user; });
  };
  EXPECT_EQ(of(1001), static_cast<std::ptrdiff_t>(share));
  EXPECT_EQ(of(1002), static_cast<std::ptrdiff_t>(share));
  EXPECT_EQ(records.all().begin()->first, 1u);
  EXPECT_EQ(numbers(records.page(0, 1, 1000)), Numbers{number}) << "the latest of its own";
}

TEST(RecordsTest, WhatAUserHasOfTheRingIsKnownAfterAnUpgrade) {
  Records before;
  std::uint64_t number = 0;
  while (number < 100) before.add(record(++number, 1001));
  while (number < Records::kMost) before.add(record(++number, 1000));
  handover::Saver saver;
  saver.value(before);
  handover::Loader loader(saver.bytes(), handover::kFormat, {});
  Records after;
  loader.value(after);
  ASSERT_TRUE(loader.result()) << loader.result().error().what;
  EXPECT_EQ(after.all(), before.all());
  while (number < 3 * Records::kMost) after.add(record(++number, 1000));
  EXPECT_EQ(after.all().size(), Records::kMost);
  EXPECT_EQ(after.page(0, 256, 1001).requests.size(), 100u);
}

TEST(RecordsTest, LongOnesOfOneUserPushNobodyElsesOut) {
  Records records;
  records.add(record(1, 1001));
  for (std::uint64_t number = 2; number <= Records::kMost; ++number) records.add(longest(number));
  EXPECT_EQ(numbers(records.page(0, 256, 1001)), Numbers{1});
}

TEST(RecordsTest, OfManyUsersWithOneEachTheOldestLeaves) {
  Records records;
  for (std::uint64_t number = 1; number <= Records::kMost + 10; ++number)
    records.add(record(number, static_cast<uid_t>(number)));
  EXPECT_EQ(records.all().size(), Records::kMost);
  EXPECT_EQ(records.all().begin()->first, 11u);
}

TEST(RecordsTest, LongOnesTakeTheRoomOfMore) {
  Records records;
  for (std::uint64_t number = 1; number <= Records::kMost; ++number) records.add(longest(number));
  EXPECT_LT(records.all().size(), Records::kMost / 2);
  EXPECT_EQ(records.all().rbegin()->first, Records::kMost);
}

TEST(RecordsTest, APageOfTheLongestFitsIntoAFrame) {
  Records records;
  for (std::uint64_t number = 1; number <= 256; ++number) records.add(longest(number));
  const auto page = records.page(0, 256, {});
  EXPECT_TRUE(page.more);
  EXPECT_GT(page.requests.size(), 10u);
  EXPECT_LT(contract::pack(page).size(), kMaxFrameBytes);
}

TEST(RecordsTest, APageOfTheShortestIsAsLongAsAskedFor) {
  Records records;
  for (std::uint64_t number = 1; number <= 300; ++number) records.add(record(number));
  EXPECT_EQ(records.page(0, 256, {}).requests.size(), 256u);
}

contract::ErrorEntry error(const std::string& what, std::uint64_t at_ms = 0) {
  contract::ErrorEntry made;
  made.at_ms = at_ms;
  made.code = "bad_model";
  made.what = what;
  return made;
}

std::vector<std::string> texts(const std::vector<contract::ErrorEntry>& errors) {
  std::vector<std::string> found;
  for (const auto& each : errors) found.push_back(each.what);
  return found;
}

using Texts = std::vector<std::string>;

TEST(ErrorLogTest, AUserSeesItsOwnAndTheServices) {
  ErrorLog log;
  log.add(1000, error("a"));
  log.add(1001, error("b"));
  log.add(std::nullopt, error("the engine"));
  EXPECT_EQ(texts(log.latest(1000)), (Texts{"the engine", "a"}));
  EXPECT_EQ(texts(log.latest(std::nullopt)), (Texts{"the engine", "b", "a"}));
}

TEST(ErrorLogTest, OneUsersFloodPushesNobodyElsesOut) {
  ErrorLog log;
  log.add(1001, error("kept"));
  for (int i = 0; i < 1000; ++i) log.add(1000, error(std::to_string(i)));
  EXPECT_EQ(texts(log.latest(1001)), Texts{"kept"});
  EXPECT_EQ(log.latest(1000).size(), 16u);
  EXPECT_EQ(log.latest(1000)[0].what, "999");
  EXPECT_EQ(log.all().size(), ErrorLog::kOfOne + 1);
}

TEST(ErrorLogTest, WhatRepeatsStandsOnceWithItsLastTime) {
  ErrorLog log;
  log.add(1000, error("a", 1));
  log.add(1000, error("a", 2));
  ASSERT_EQ(log.latest(1000).size(), 1u);
  EXPECT_EQ(log.latest(1000)[0].at_ms, 2u);
}

TEST(ErrorLogTest, ManyUsersAreBounded) {
  ErrorLog log;
  for (uid_t user = 0; user < 2000; ++user) log.add(user, error("x"));
  EXPECT_EQ(log.all().size(), ErrorLog::kMost);
  EXPECT_EQ(log.latest(std::nullopt).size(), 16u);
}

}  // namespace
}  // namespace hearth::broker
