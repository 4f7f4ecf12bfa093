// Pictures resampled and cut into patches: every table gives the bytes of the plain loops.

#include <algorithm>
#include <cstring>
#include <ostream>
#include <random>
#include <tuple>
#include <utility>

#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {
namespace {

constexpr unsigned kSeed = 33;

std::vector<std::uint8_t> random_bytes(std::int64_t count) {
  std::mt19937 random(kSeed);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count));
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

struct Axis {
  std::int64_t outer, inputs, outputs, inner;
  std::int64_t most = 7;
  std::int32_t precision = 15;
};

std::ostream& operator<<(std::ostream& out, const Axis& axis) {
  return out << axis.outer << " x " << axis.inputs << " -> " << axis.outputs << " x " << axis.inner;
}

// Weights of any sign and places in any order: sums leave 0 .. 255 on both sides.
HearthResample random_call(Memory& memory, const Axis& axis) {
  std::mt19937 random(kSeed);
  const auto below = [&](std::int64_t end) { return static_cast<std::int32_t>(random() % end); };
  const auto outputs = static_cast<std::size_t>(axis.outputs);
  std::vector<std::int32_t> first(outputs), count(outputs);
  std::vector<std::int16_t> weights(outputs * static_cast<std::size_t>(axis.most));
  for (std::size_t i = 0; i < outputs; ++i) {
    count[i] = below(std::min(axis.most, axis.inputs) + 1);
    first[i] = below(axis.inputs - count[i] + 1);
  }
  for (auto& weight : weights) weight = static_cast<std::int16_t>(below(65536) - 32768);
  return {.outer = axis.outer,
          .inputs = axis.inputs,
          .outputs = axis.outputs,
          .inner = axis.inner,
          .source = memory.copy(random_bytes(axis.outer * axis.inputs * axis.inner)),
          .most = axis.most,
          .precision = axis.precision,
          .first = memory.copy(first),
          .count = memory.copy(count),
          .weights = memory.copy(weights),
          .target = nullptr};
}

class Resample : public testing::TestWithParam<std::tuple<Implementation, Axis>> {};

TEST_P(Resample, GivesTheBytesOfThePlainLoops) {
  const auto& [implementation, axis] = GetParam();
  const auto use = implementation.use();
  HostMemory memory;
  const auto bytes = static_cast<std::size_t>(axis.outer * axis.outputs * axis.inner);
  constexpr std::uint8_t kBehind = 99;
  HearthResample call = random_call(memory, axis);
  auto* expected = static_cast<std::uint8_t*>(memory.allocate(bytes));
  auto* got = static_cast<std::uint8_t*>(memory.allocate(bytes + 1));
  got[bytes] = kBehind;
  call.target = expected;
  ASSERT_EQ(hearth_kernels_ref()->resample(&call, nullptr), HEARTH_OK);
  call.target = got;
  ASSERT_EQ(implementation.table->resample(&call, memory.stream()), HEARTH_OK);
  memory.wait();
  std::size_t different = 0;
  for (std::size_t i = 0; i < bytes; ++i) different += got[i] != expected[i];
  EXPECT_EQ(different, 0U) << "of " << bytes << ", seed " << kSeed;
  EXPECT_EQ(got[bytes], kBehind) << "one byte further";
}

INSTANTIATE_TEST_SUITE_P(
    Tables, Resample,
    testing::Combine(testing::ValuesIn(implementations_under_test()),
                     testing::Values(Axis{1, 1, 1, 3}, Axis{1, 1, 5, 3}, Axis{23, 40, 17, 3},
                                     Axis{10, 9, 21, 3}, Axis{1, 31, 12, 201}, Axis{3, 8, 8, 64},
                                     Axis{2, 5, 9, 1}, Axis{7, 60, 4, 3, 33, 22},
                                     Axis{1, 70'000, 2, 3}, Axis{66'000, 2, 1, 3, 2, 1})));

struct Cut {
  std::int64_t grid_height, grid_width, patch, merge, frames;
  std::int64_t pictures = 1;
};

std::ostream& operator<<(std::ostream& out, const Cut& cut) {
  return out << cut.grid_height << " x " << cut.grid_width << " of " << cut.patch << ", "
             << cut.pictures << " of " << cut.frames;
}

class Patchify : public testing::TestWithParam<std::tuple<Implementation, HearthType, Cut>> {};

TEST_P(Patchify, GivesTheBitsOfThePlainLoops) {
  const auto& [implementation, type, cut] = GetParam();
  const auto use = implementation.use();
  HostMemory memory;
  const std::int64_t pixels = cut.grid_height * cut.grid_width * cut.patch * cut.patch;
  const auto bytes =
      static_cast<std::size_t>(3 * pixels * cut.frames) * (type == HEARTH_F32 ? 4 : 2);
  HearthPatchify call{type,
                      cut.grid_height,
                      cut.grid_width,
                      cut.patch,
                      cut.merge,
                      cut.frames,
                      cut.pictures,
                      memory.copy(random_bytes(3 * pixels * cut.pictures)),
                      memory.copy(normal_numbers(3 * 256, kSeed)),
                      memory.allocate(bytes)};
  ASSERT_EQ(hearth_kernels_ref()->patchify(&call, nullptr), HEARTH_OK);
  const void* expected = std::exchange(call.rows, memory.allocate(bytes));
  ASSERT_EQ(implementation.table->patchify(&call, memory.stream()), HEARTH_OK);
  memory.wait();
  EXPECT_EQ(std::memcmp(call.rows, expected, bytes), 0) << "seed " << kSeed;
}

INSTANTIATE_TEST_SUITE_P(
    Tables, Patchify,
    testing::Combine(testing::ValuesIn(implementations_under_test()),
                     testing::Values(HEARTH_F32, HEARTH_BF16),
                     testing::Values(Cut{2, 2, 16, 2, 2}, Cut{4, 6, 16, 2, 2}, Cut{4, 8, 14, 4, 2},
                                     Cut{3, 5, 3, 1, 1}, Cut{2, 2, 20, 2, 3},
                                     Cut{4, 6, 16, 2, 2, 2}, Cut{2, 2, 14, 2, 2, 2},
                                     Cut{3, 5, 3, 1, 4, 4})));

class Pictures : public testing::TestWithParam<Implementation> {};

TEST_P(Pictures, ThatMakeNoSenseAreRefused) {
  HostMemory memory;
  HearthResample good = random_call(memory, {2, 4, 3, 3});
  good.target = static_cast<std::uint8_t*>(memory.allocate(64));
  const auto refused = [&](auto change) {
    HearthResample call = good;
    change(call);
    return GetParam().table->resample(&call, memory.stream());
  };
  EXPECT_EQ(refused([](auto& c) { c.source = nullptr; }), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(refused([](auto& c) { c.outputs = 0; }), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(refused([](auto& c) { c.precision = 0; }), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(refused([](auto& c) { c.precision = 23; }), HEARTH_BAD_ARGUMENT);
  const auto* bytes = good.source;
  const auto cut = [&](HearthPatchify call) {
    return GetParam().table->patchify(&call, memory.stream());
  };
  float* rows = static_cast<float*>(memory.allocate(3 * 256 * sizeof(float)));
  EXPECT_EQ(cut({HEARTH_F32, 3, 2, 1, 2, 1, 1, bytes, rows, rows}), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(cut({HEARTH_F32, 2, 2, 1, 2, 0, 1, bytes, rows, rows}), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(cut({HEARTH_F32, 2, 2, 1, 2, 1, 1, bytes, nullptr, rows}), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(cut({HEARTH_F32, 2, 2, 1, 2, 3, 2, bytes, rows, rows}), HEARTH_BAD_ARGUMENT);
}

INSTANTIATE_TEST_SUITE_P(Tables, Pictures, testing::ValuesIn(implementations_under_test()),
                         implementation_name);

}  // namespace
}  // namespace hearth::kernels
