// What a build says of its GPU kernels is what CMake was asked for.

#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/kernels/device.h"

namespace hearth::kernels {
namespace {

// HEARTH_CUDA_ARCHITECTURES, "90a" as 90; empty in a build without CUDA.
std::vector<std::int32_t> asked_for() {
  std::vector<std::int32_t> architectures;
  std::istringstream list(HEARTH_BUILT_FOR);
  for (std::string one; std::getline(list, one, ',');) architectures.push_back(std::stoi(one));
  return architectures;
}

TEST(Architectures, AreThoseThatTheBuildWasAskedFor) {
  const auto expected = asked_for();
  std::vector<std::int32_t> reported(expected.size());
  const auto most = static_cast<std::int32_t>(reported.size());
  EXPECT_EQ(hearth_device_architectures(reported.data(), most), most);
  EXPECT_EQ(reported, expected);
}

TEST(Architectures, AreNotWrittenBeyondTheCallersRoom) {
  std::int32_t one[2] = {-1, -1};
  hearth_device_architectures(one, 1);
  EXPECT_EQ(one[1], -1);
}

}  // namespace
}  // namespace hearth::kernels
