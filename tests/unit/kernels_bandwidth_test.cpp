// The measurement of the memory's speed: a number that can be, or none.

#include <gtest/gtest.h>

#include "models/kernels/cpu/bandwidth.h"

namespace hearth::kernels::cpu {
namespace {

using Milliseconds = std::chrono::milliseconds;

#if defined(__x86_64__)
TEST(Bandwidth, IsThatOfAMemory) {
  const std::uint64_t bytes_per_s = measure_bandwidth(Milliseconds(20'000));
  EXPECT_GT(bytes_per_s, 50'000'000U);
  EXPECT_LT(bytes_per_s, 20'000'000'000'000U);
}
#endif

TEST(Bandwidth, IsNotKnownWithoutTime) {
  EXPECT_EQ(measure_bandwidth(Milliseconds(0)), 0U);
}

}  // namespace
}  // namespace hearth::kernels::cpu
