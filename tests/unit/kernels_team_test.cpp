// The team of threads: each item once, whatever the sizes, the threads and the load of the machine.

#include <atomic>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "models/kernels/cpu/team.h"

namespace hearth::kernels::cpu {
namespace {

// Puts the team back to its former size.
struct TeamOf {
  int before = team_threads();
  explicit TeamOf(int threads) { set_team_threads(threads); }
  ~TeamOf() { set_team_threads(before); }
};

// Plain memory on purpose: a thread sanitizer sees here whether a run orders what is written.
void expect_each_item_once(std::int64_t items, std::int64_t grain) {
  std::vector<int> visits(static_cast<std::size_t>(items), 0);
  std::atomic<bool> sound{true};
  for_chunks(items, grain, [&](Chunk chunk) {
    if (chunk.first >= chunk.last || chunk.thread < 0 || chunk.thread >= team_threads())
      sound = false;
    for (std::int64_t i = chunk.first; i < chunk.last; ++i) ++visits[static_cast<std::size_t>(i)];
  });
  EXPECT_TRUE(sound) << items << " items by " << grain;
  for (const int count : visits) ASSERT_EQ(count, 1) << items << " items by " << grain;
}

class TeamSize : public testing::TestWithParam<int> {};

TEST_P(TeamSize, ComputesEachItemOnce) {
  const TeamOf team(GetParam());
  ASSERT_EQ(team_threads(), GetParam());
  for (const std::int64_t items : {0, 1, 2, 3, 7, 64, 1000, 4099})
    for (const std::int64_t grain : {0, 1, 3, 64, 5000}) expect_each_item_once(items, grain);
}

TEST_P(TeamSize, MakesLargerChunksRatherThanTooMany) {
  const TeamOf team(GetParam());
  expect_each_item_once(std::int64_t{70000} * GetParam(), 1);
}

TEST_P(TeamSize, RunsFollowEachOtherAtOnce) {
  constexpr unsigned kSeed = 3;
  std::mt19937 random(kSeed);
  const TeamOf team(GetParam());
  std::vector<std::int64_t> numbers(97);
  std::int64_t expected = 0;
  for (int run = 0; run < 2000; ++run) {
    const std::int64_t addend = static_cast<std::int64_t>(random() % 100);
    expected += addend;
    for_chunks(97, 1 + addend % 9, [&](Chunk chunk) {
      for (std::int64_t i = chunk.first; i < chunk.last; ++i)
        numbers[static_cast<std::size_t>(i)] += addend;
    });
  }
  for (const std::int64_t number : numbers) ASSERT_EQ(number, expected) << "seed " << kSeed;
}

// More threads than processors: most are not running when their work comes.
INSTANTIATE_TEST_SUITE_P(Threads, TeamSize, testing::Values(1, 2, 3, 9));

TEST(Team, WorksBesideProgramsThatKeepEveryProcessorBusy) {
  const TeamOf team(2);
  std::atomic<bool> stop{false};
  std::vector<std::thread> hogs;
  for (unsigned i = 0; i < std::thread::hardware_concurrency(); ++i)
    hogs.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
      }
    });
  for (int run = 0; run < 50; ++run) expect_each_item_once(500, 1);
  stop = true;
  for (std::thread& hog : hogs) hog.join();
}

TEST(Team, WakesUpAfterASleep) {
  const TeamOf team(3);
  for (int run = 0; run < 5; ++run) {
    expect_each_item_once(100, 1);
    // Longer than idle threads spin; on a slow machine they may not even have fallen asleep.
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST(Team, EachThreadHasItsOwnAlignedScratch) {
  const TeamOf team(3);
  std::atomic<bool> sound{true};
  for (const std::size_t bytes : {std::size_t{100}, std::size_t{100000}, std::size_t{10}})
    for_chunks(64, 1, [&](Chunk chunk) {
      auto* memory = static_cast<std::uint8_t*>(scratch(chunk.thread, bytes));
      if (reinterpret_cast<std::uintptr_t>(memory) % 64 != 0) sound = false;
      for (std::size_t i = 0; i < bytes; ++i) memory[i] = static_cast<std::uint8_t>(chunk.first);
      for (std::size_t i = 0; i < bytes; ++i)
        if (memory[i] != static_cast<std::uint8_t>(chunk.first)) sound = false;
    });
  EXPECT_TRUE(sound);
  EXPECT_NE(scratch(kSharedScratch, 64), scratch(0, 64));
}

TEST(Team, TakesNoFewerThanOneThreadAndNoMoreThanItCanCount) {
  const TeamOf team(0);
  EXPECT_EQ(team_threads(), 1);
  set_team_threads(kMostThreads + 1);
  EXPECT_EQ(team_threads(), kMostThreads);
}

}  // namespace
}  // namespace hearth::kernels::cpu
