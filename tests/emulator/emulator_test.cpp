// That the emulator sees what it is there to see.

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "tests/emulator/cuda/cuda_runtime.h"

namespace {

constexpr unsigned kThreads = 64;

float* shared_floats() {
  return reinterpret_cast<float*>(emulator::shared_memory());
}

// Every thread hands its number to the next one by shared memory; how many got the right one.
unsigned handed_on(bool with_barrier) {
  unsigned right = 0;
  emulator::run(dim3(1), dim3(kThreads), kThreads * sizeof(float), [&] {
    shared_floats()[threadIdx.x] = static_cast<float>(threadIdx.x);
    if (with_barrier) __syncthreads();
    const unsigned before = (threadIdx.x + kThreads - 1) % kThreads;
    right += shared_floats()[before] == static_cast<float>(before);
  });
  return right;
}

TEST(Emulator, LetsAForgottenBarrierShow) {
  EXPECT_EQ(handed_on(true), kThreads);
  EXPECT_LT(handed_on(false), kThreads);
}

TEST(Emulator, PoisonsSharedMemoryBeforeEachBlock) {
  unsigned clean = 0;
  emulator::run(dim3(2, 3), dim3(1), sizeof(float), [&] {
    clean += !std::isnan(shared_floats()[0]);
    shared_floats()[0] = 1.0F;
  });
  EXPECT_EQ(clean, 0U);
}

TEST(Emulator, RunsEveryBlockOnce) {
  std::vector<unsigned> seen(2 * 3 * 4);
  emulator::run(dim3(2, 3, 4), dim3(33), 0, [&] {
    if (threadIdx.x == 32) ++seen[(blockIdx.z * 3 + blockIdx.y) * 2 + blockIdx.x];
  });
  EXPECT_EQ(seen, std::vector<unsigned>(24, 1));
}

TEST(Emulator, ShufflesAmongTheLanesOfAWarp) {
  std::vector<int> got(kThreads), below(kThreads);
  unsigned odd = 0;
  emulator::run(dim3(1), dim3(kThreads), 0, [&] {
    const int own = static_cast<int>(threadIdx.x);
    got[threadIdx.x] = __shfl_xor_sync(0xffffffffU, own, 5);
    below[threadIdx.x] = __shfl_up_sync(0xffffffffU, own, 2);
    odd = __ballot_sync(0xffffffffU, own % 2);
  });
  EXPECT_EQ(odd, 0xaaaaaaaaU);
  for (int i = 0; i < static_cast<int>(kThreads); ++i) {
    EXPECT_EQ(got[static_cast<std::size_t>(i)], i ^ 5);
    EXPECT_EQ(below[static_cast<std::size_t>(i)], i % 32 < 2 ? i : i - 2);
  }
}

TEST(Emulator, CountsVotesAtABarrierOfThoseStillThere) {
  std::vector<int> any(kThreads, -1);
  emulator::run(dim3(1), dim3(kThreads), 0, [&] {
    if (threadIdx.x >= 40) return;
    any[threadIdx.x] = __syncthreads_or(threadIdx.x == 7);
    any[threadIdx.x] += 2 * __syncthreads_or(threadIdx.x == 50);
  });
  EXPECT_EQ(std::count(any.begin(), any.end(), 1), 40);
}

TEST(EmulatorDeathTest, EndsAtABarrierThatSomeThreadsNeverReach) {
  const auto leaves = [] {
    if (threadIdx.x != 33) __syncwarp();
  };
  EXPECT_DEATH(emulator::run(dim3(1), dim3(kThreads), 0, leaves), "a lane that has ended|deadlock");
  const auto lane_waits = [] {
    if (threadIdx.x == 0)
      __syncwarp();
    else
      __syncthreads();
  };
  EXPECT_DEATH(emulator::run(dim3(1), dim3(kThreads), 0, lane_waits), "deadlock");
}

TEST(EmulatorDeathTest, EndsWhereLanesMeetAtDifferentOperations) {
  EXPECT_DEATH(emulator::run(dim3(1), dim3(32), 0,
                             [] {
                               if (threadIdx.x % 2 == 0)
                                 __syncwarp();
                               else
                                 __ballot_sync(0xffffffffU, 1);
                             }),
               "different operations");
}

TEST(EmulatorDeathTest, EndsWhereAShuffleReadsALaneThatDoesNotTakePart) {
  EXPECT_DEATH(emulator::run(dim3(1), dim3(32), 0,
                             [] {
                               if (threadIdx.x < 16) __shfl_sync(0xffffU, 1, 20);
                             }),
               "a lane outside its mask");
}

}  // namespace
