// Weights as numbers again: every table against the plain loops, over formats and odd ranges.

#include <ostream>
#include <tuple>

#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {
namespace {

constexpr unsigned kSeed = 21;

struct Range {
  std::int64_t out_features, in_features, first, count;
};

std::ostream& operator<<(std::ostream& out, const Range& range) {
  return out << range.first << " + " << range.count << " of " << range.out_features << " x "
             << range.in_features;
}

HearthMatrix packed(Memory& memory, HearthFormat format, const Range& range) {
  const std::int64_t out = range.out_features, in = range.in_features;
  const HearthMatrix matrix{format, out, in, memory.allocate(hearth_matrix_bytes(format, out, in)),
                            memory.allocate(hearth_scale_bytes(format, out, in))};
  const Floats weights = normal_numbers(out * in, kSeed);
  const HearthPack pack{matrix, HEARTH_F32, weights.data(), out, 0, 1};
  EXPECT_EQ(hearth_pack_begin(&matrix), HEARTH_OK);
  EXPECT_EQ(hearth_pack(&pack), HEARTH_OK);
  return matrix;
}

class Unpack : public testing::TestWithParam<
                   std::tuple<Implementation, HearthFormat, std::pair<HearthType, double>, Range>> {
};

TEST_P(Unpack, EqualsThePlainLoops) {
  const auto& [implementation, format, type, range] = GetParam();
  const auto use = implementation.use();
  HostMemory memory;
  const std::int64_t numbers = range.count * range.in_features;
  HearthUnpack expected{packed(memory, format, range), range.first, range.count, type.first,
                        memory.allocate(static_cast<std::size_t>(numbers) * sizeof(float))};
  HearthUnpack tested = expected;
  tested.target = memory.allocate(static_cast<std::size_t>(numbers) * sizeof(float));
  ASSERT_EQ(hearth_kernels_ref()->unpack(&expected, nullptr), HEARTH_OK);
  ASSERT_EQ(implementation.table->unpack(&tested, memory.stream()), HEARTH_OK);
  memory.wait();
  EXPECT_LE(relative_error(read_numbers(type.first, tested.target, numbers),
                           read_numbers(type.first, expected.target, numbers)),
            type.second)
      << "seed " << kSeed;
}

INSTANTIATE_TEST_SUITE_P(
    Tables, Unpack,
    testing::Combine(testing::ValuesIn(implementations_under_test()),
                     testing::Values(HEARTH_FORMAT_F32, HEARTH_FORMAT_BF16, HEARTH_FORMAT_FP8,
                                     HEARTH_FORMAT_INT8, HEARTH_FORMAT_INT4),
                     testing::Values(std::pair(HEARTH_F32, 1e-6), std::pair(HEARTH_BF16, 1e-4)),
                     testing::Values(Range{1, 1, 0, 1}, Range{33, 67, 0, 33},
                                     Range{50, 200, 17, 20}, Range{40, 128, 39, 1})));

}  // namespace
}  // namespace hearth::kernels
