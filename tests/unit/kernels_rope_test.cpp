// Rotary angles, and norm, rotation and cache writes of queries, keys and values.

#include <algorithm>
#include <cmath>
#include <ostream>
#include <tuple>

#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {
namespace {

constexpr unsigned kSeed = 31;

struct Case {
  HearthType type;
  std::int64_t rows, heads, kv_heads, head_dim;
  bool norm;
  double tolerance;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << (c.type == HEARTH_F32 ? "f32 " : "bf16 ") << c.rows << " rows " << c.heads << "/"
             << c.kv_heads << " x " << c.head_dim << (c.norm ? " norm" : "");
}

constexpr std::int64_t kGap = 4;
constexpr std::int64_t kPages = 8;  // a slot has four of them

std::int64_t stride_of(const Case& c) {
  return (c.heads + 2 * c.kv_heads) * c.head_dim + kGap;
}
std::int64_t cache_size(const Case& c) {
  return kPages * 2 * c.kv_heads * HEARTH_PAGE_TOKENS * c.head_dim;
}

// Rows of two slots in turns, at tokens that follow each other; every fifth is left out.
HearthRopeWrite make(Memory& memory, const Case& c) {
  std::vector<std::int32_t> slot, index;
  for (std::int32_t row = 0; row < c.rows; ++row) {
    slot.push_back(row % 2);
    index.push_back(row % 5 == 4 ? -1 : 29 + row / 2);
  }
  Floats cosines, sines;
  for (const float angle : normal_numbers(c.rows * c.head_dim / 2, kSeed + 4, 3.0F)) {
    cosines.push_back(std::cos(angle));
    sines.push_back(std::sin(angle));
  }
  const std::vector<std::int32_t> table = {7, 2, 0, 5, 1, 6, 4, 3};
  const bool cached = c.kv_heads > 0;
  return {
      .type = c.type,
      .rows = c.rows,
      .heads = c.heads,
      .qkv = memory.numbers(c.type, normal_numbers(c.rows * stride_of(c), kSeed)),
      .qkv_stride = stride_of(c),
      .q_norm = c.norm ? memory.copy(normal_numbers(c.head_dim, kSeed + 1)) : nullptr,
      .k_norm = c.norm ? memory.copy(normal_numbers(c.head_dim, kSeed + 2)) : nullptr,
      .norm_epsilon = 1e-6F,
      .cosines = memory.copy(cosines),
      .sines = memory.copy(sines),
      .slot = memory.copy(slot),
      .index = memory.copy(index),
      .cache = {.type = c.type,
                .pages = cached ? memory.numbers(c.type, normal_numbers(cache_size(c), kSeed + 3))
                                : nullptr,
                .table = cached ? memory.copy(table) : nullptr,
                .table_stride = 4,
                .kv_heads = c.kv_heads,
                .head_dim = c.head_dim}};
}

Floats qkv_of(const HearthRopeWrite& call) {
  return read_numbers(call.type, call.qkv, call.rows * call.qkv_stride);
}

class RopeWrite : public testing::TestWithParam<std::tuple<Implementation, Case>> {};

// The whole of qkv and of all pages is compared, so what must stay as it was is, too.
TEST_P(RopeWrite, EqualsThePlainLoops) {
  const auto& [implementation, c] = GetParam();
  const auto use = implementation.use();
  HostMemory memory;
  const HearthRopeWrite expected = make(memory, c), tested = make(memory, c);
  ASSERT_EQ(hearth_kernels_ref()->rope_write(&expected, nullptr), HEARTH_OK);
  ASSERT_EQ(implementation.table->rope_write(&tested, memory.stream()), HEARTH_OK);
  memory.wait();
  EXPECT_LT(relative_error(qkv_of(tested), qkv_of(expected)), c.tolerance) << "seed " << kSeed;
  if (c.kv_heads > 0) {
    EXPECT_LT(relative_error(read_numbers(c.type, tested.cache.pages, cache_size(c)),
                             read_numbers(c.type, expected.cache.pages, cache_size(c))),
              c.tolerance);
  }
}

TEST_P(RopeWrite, LeavesARowWithoutIndexAlone) {
  const auto& [implementation, c] = GetParam();
  const auto use = implementation.use();
  HostMemory memory;
  const HearthRopeWrite call = make(memory, c);
  const Floats before = qkv_of(call);
  ASSERT_EQ(implementation.table->rope_write(&call, memory.stream()), HEARTH_OK);
  memory.wait();
  const Floats after = qkv_of(call);
  for (std::int64_t row = 0; row < c.rows; ++row) {
    const auto first = row * call.qkv_stride;
    EXPECT_EQ(std::equal(after.begin() + first, after.begin() + first + call.qkv_stride,
                         before.begin() + first),
              call.index[row] < 0)
        << "row " << row;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Tables, RopeWrite,
    testing::Combine(testing::ValuesIn(implementations_under_test()),
                     testing::Values(Case{HEARTH_F32, 6, 4, 2, 16, true, 1e-6},
                                     Case{HEARTH_F32, 6, 2, 1, 14, false, 1e-6},
                                     Case{HEARTH_F32, 33, 3, 0, 36, false, 1e-6},
                                     Case{HEARTH_BF16, 1, 16, 8, 128, true, 1e-3},
                                     Case{HEARTH_BF16, 16, 8, 2, 128, true, 1e-3},
                                     Case{HEARTH_BF16, 120, 4, 2, 128, true, 1e-3},
                                     Case{HEARTH_BF16, 5, 7, 1, 80, false, 1e-3})));

class RopeAngles : public testing::TestWithParam<Implementation> {};
INSTANTIATE_TEST_SUITE_P(Tables, RopeAngles, testing::ValuesIn(implementations_under_test()),
                         implementation_name);

// fp32 angles grow to thousands of turns at the first channels; cosines must be of just that angle.
TEST_P(RopeAngles, TurnEachChannelByItsAxisAndFrequency) {
  const auto use = GetParam().use();
  constexpr std::int64_t kHalf = 64;
  for (const std::int64_t rows : {1, 16, 130}) {
    HostMemory memory;
    Floats frequency;
    std::vector<std::uint8_t> axis;
    for (int i = 0; i < kHalf; ++i) {
      frequency.push_back(std::pow(5e6F, -static_cast<float>(i) / kHalf));
      axis.push_back(static_cast<std::uint8_t>(i % 3));
    }
    std::vector<std::int32_t> position;
    for (std::int64_t i = 0; i < 3 * rows; ++i)
      position.push_back(static_cast<std::int32_t>(i * 7919 % 262144));
    const std::size_t bytes = static_cast<std::size_t>(rows * kHalf) * sizeof(float);
    const HearthRopeAngles call{.rows = rows,
                                .half = kHalf,
                                .position = memory.copy(position),
                                .frequency = memory.copy(frequency),
                                .axis = memory.copy(axis),
                                .cosines = static_cast<float*>(memory.allocate(bytes)),
                                .sines = static_cast<float*>(memory.allocate(bytes))};
    ASSERT_EQ(GetParam().table->rope_angles(&call, memory.stream()), HEARTH_OK);
    memory.wait();
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t i = 0; i < kHalf; ++i) {
        const auto at = static_cast<std::size_t>(axis[static_cast<std::size_t>(i)] * rows + row);
        const float angle =
            static_cast<float>(position[at]) * frequency[static_cast<std::size_t>(i)];
        EXPECT_NEAR(call.cosines[row * kHalf + i], std::cos(double{angle}), 2e-7) << angle;
        EXPECT_NEAR(call.sines[row * kHalf + i], std::sin(double{angle}), 2e-7) << angle;
      }
    }
  }
}

}  // namespace
}  // namespace hearth::kernels
