// What the broker is told of the worker's threads.

#include <gtest/gtest.h>

#include "daemon/worker/beats.h"

namespace hearth::worker {
namespace {

using models::Phase;
using std::chrono::milliseconds;

class BeatsTest : public testing::Test {
 protected:
  std::vector<contract::Beat> after(milliseconds time) {
    now_ += time;
    return beats_.due(now_, [this] {
      contract::DeviceState state;
      state.source = "test";
      ++readings;
      return state;
    });
  }

  models::Progress first, second;
  int readings = 0;

 private:
  Beats beats_{{&first, &second}};
  Beats::Clock::time_point now_ = Beats::Clock::time_point(std::chrono::hours(1));
};

TEST_F(BeatsTest, OneSaysThatAllAreIdle) {
  const auto beats = after(milliseconds(0));
  ASSERT_EQ(beats.size(), 1U);
  EXPECT_EQ(beats[0].phase, "idle");
  EXPECT_TRUE(after(milliseconds(999)).empty());
  EXPECT_EQ(after(milliseconds(1)).size(), 1U);
  EXPECT_EQ(readings, 0) << "nobody reads an idle device for it";
}

TEST_F(BeatsTest, BusyThreadsHaveOneEachWithTheDeviceReadOnce) {
  first.enter(Phase::kDecode, "m");
  second.enter(Phase::kLoad, "n");
  const auto beats = after(milliseconds(0));
  ASSERT_EQ(beats.size(), 2U);
  EXPECT_EQ(beats[0].phase + beats[0].model, "decodem");
  EXPECT_EQ(beats[1].phase + beats[1].model, "loadn");
  EXPECT_EQ(beats[1].device_state.source, "test");
  EXPECT_EQ(readings, 1);
}

TEST_F(BeatsTest, AChangeOfPhaseIsToldSoon) {
  after(milliseconds(0));
  first.enter(Phase::kDecode, "m");
  EXPECT_TRUE(after(milliseconds(99)).empty());
  EXPECT_EQ(after(milliseconds(1)).size(), 1U);
}

// The broker compares a beat with the last one of its phase and model.
TEST_F(BeatsTest, ThreadsAtTheSamePhaseOfAModelAreOneThatMovesWithEitherOfThem) {
  first.enter(Phase::kPreprocess, "m");
  second.enter(Phase::kPreprocess, "m");
  for (int i = 0; i < 5; ++i) second.step();
  const auto before = after(milliseconds(0));
  ASSERT_EQ(before.size(), 1U);
  const auto still = after(milliseconds(1000));
  ASSERT_EQ(still.size(), 1U);
  EXPECT_EQ(still[0].steps, before[0].steps);
  EXPECT_EQ(still[0].since_ms, 1000U);
  first.step();
  const auto moved = after(milliseconds(1000));
  ASSERT_EQ(moved.size(), 1U);
  EXPECT_GT(moved[0].steps, still[0].steps);
  EXPECT_EQ(moved[0].since_ms, 0U) << "since one of them last did something";
}

}  // namespace
}  // namespace hearth::worker
