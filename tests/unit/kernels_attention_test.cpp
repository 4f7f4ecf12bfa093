// Attention over paged keys and values: every table against the plain loops, at the borders of
// pages and parts.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <ostream>
#include <random>
#include <tuple>

#include "models/kernels/formats.h"
#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {
namespace {

constexpr unsigned kSeed = 23;
constexpr std::int64_t kGap = 8;
constexpr std::int64_t kStride = 140;  // pages a slot can have

struct Case {
  HearthType type;
  std::int64_t heads, kv_heads, head_dim;
  double tolerance;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << (c.type == HEARTH_F32 ? "f32 " : "bf16 ") << c.heads << "/" << c.kv_heads << " x "
             << c.head_dim;
}

struct Row {
  std::int32_t slot, index;
};

// Two slots whose pages lie scattered. What no row may see, the tail of a slot's last page, pages
// of nobody, is NaN: one of it in a sum would show.
HearthCache cache_of(Memory& memory, const Case& c, std::int32_t tokens) {
  const std::int64_t used = (tokens + HEARTH_PAGE_TOKENS - 1) / HEARTH_PAGE_TOKENS;
  const std::int64_t pages = 2 * used + 3;
  const std::int64_t page_size = 2 * c.kv_heads * HEARTH_PAGE_TOKENS * c.head_dim;
  std::vector<std::int32_t> order(static_cast<std::size_t>(pages));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(kSeed));
  Floats numbers = normal_numbers(pages * page_size, kSeed);
  const auto poison = [&](std::int64_t page, std::int64_t from) {
    for (std::int64_t block = 0; block < 2 * c.kv_heads; ++block)
      for (std::int64_t i = from * c.head_dim; i < HEARTH_PAGE_TOKENS * c.head_dim; ++i)
        numbers[static_cast<std::size_t>(page * page_size +
                                         block * HEARTH_PAGE_TOKENS * c.head_dim + i)] = NAN;
  };
  std::vector<std::int32_t> table(2 * kStride, order.back());  // a page of nobody
  for (std::int64_t slot = 0; slot < 2; ++slot) {
    std::copy_n(order.begin() + slot * used, used, table.begin() + slot * kStride);
    if (tokens % HEARTH_PAGE_TOKENS != 0)
      poison(order[static_cast<std::size_t>((slot + 1) * used - 1)], tokens % HEARTH_PAGE_TOKENS);
  }
  for (std::size_t i = static_cast<std::size_t>(2 * used); i < order.size(); ++i)
    poison(order[i], 0);
  return {.type = c.type,
          .pages = memory.numbers(c.type, numbers),
          .table = memory.copy(table),
          .table_stride = kStride,
          .kv_heads = c.kv_heads,
          .head_dim = c.head_dim};
}

HearthAttention make(Memory& memory, const Case& c, const std::vector<Row>& rows) {
  std::vector<std::int32_t> slots, indices;
  for (const Row& row : rows) {
    slots.push_back(row.slot);
    indices.push_back(row.index);
  }
  const std::int32_t tokens =
      std::max(*std::max_element(indices.begin(), indices.end()) + 1, std::int32_t{1});
  const auto count = static_cast<std::int64_t>(rows.size());
  const std::int64_t stride = c.heads * c.head_dim + kGap;
  return {.type = c.type,
          .rows = count,
          .heads = c.heads,
          .query = memory.numbers(c.type, normal_numbers(count * stride, kSeed + 1, 2.0F)),
          .query_stride = stride,
          .slot = memory.copy(slots),
          .index = memory.copy(indices),
          .most_tokens = tokens,
          .scale = 1.0F / std::sqrt(static_cast<float>(c.head_dim)),
          .cache = cache_of(memory, c, tokens),
          .output = memory.numbers(c.type, normal_numbers(count * stride, kSeed + 2)),
          .output_stride = stride,
          .workspace = memory.allocate(
              hearth_attention_workspace_bytes(count, c.heads, c.head_dim, tokens))};
}

Floats outputs(const HearthAttention& call) {
  return read_numbers(call.type, call.output, call.rows * call.output_stride);
}

void compute(const Implementation& implementation, const HearthAttention& call, Memory& memory) {
  ASSERT_EQ(implementation.table->attention(&call, memory.stream()), HEARTH_OK);
  memory.wait();
}

class Attention : public testing::TestWithParam<std::tuple<Implementation, Case>> {};

TEST_P(Attention, EqualsThePlainLoopsAtEveryBorder) {
  const auto& [implementation, c] = GetParam();
  const auto use = implementation.use();
  for (const std::int32_t tokens : {1, 31, 32, 33, 255, 256, 257, 513}) {
    SCOPED_TRACE(testing::Message() << tokens << " tokens, seed " << kSeed);
    HostMemory memory;
    const std::vector<Row> rows = {{0, tokens - 1}, {1, tokens - 1}, {1, -1}, {0, tokens / 2}};
    const HearthAttention expected = make(memory, c, rows), tested = make(memory, c, rows);
    ASSERT_EQ(hearth_kernels_ref()->attention(&expected, nullptr), HEARTH_OK);
    compute(implementation, tested, memory);
    EXPECT_LT(relative_error(outputs(tested), outputs(expected)), c.tolerance);
  }
}

TEST_P(Attention, WritesZerosForARowWithoutTokensAndNothingBetweenRows) {
  const auto& [implementation, c] = GetParam();
  const auto use = implementation.use();
  HostMemory memory;
  const HearthAttention call = make(memory, c, {{0, -1}, {1, 3}, {1, -1}});
  const Floats before = outputs(call);
  compute(implementation, call, memory);
  const Floats after = outputs(call);
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(after.size()); ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (i % call.output_stride >= c.heads * c.head_dim) {
      ASSERT_EQ(after[at], before[at]) << i;
    } else if (i / call.output_stride != 1) {
      ASSERT_EQ(after[at], 0.0F) << i;
    }
  }
}

TEST_P(Attention, GivesARowTheSameBitsAloneAndInCompany) {
  const auto& [implementation, c] = GetParam();
  const auto use = implementation.use();
  HostMemory memory;
  std::vector<Row> rows;
  for (std::int32_t row = 0; row < 16; ++row) rows.push_back({row % 2, 40 * row + row % 3});
  const HearthAttention together = make(memory, c, rows);
  compute(implementation, together, memory);
  const Floats all = outputs(together);
  const std::int64_t width = c.heads * c.head_dim;
  for (const std::int64_t row : {0, 3, 7, 15}) {
    HearthAttention alone = together;
    alone.rows = 1;
    alone.query = static_cast<const char*>(together.query) +
                  static_cast<std::size_t>(row * together.query_stride) * item_bytes(c.type);
    alone.slot += row;
    alone.index += row;
    alone.output = memory.allocate(static_cast<std::size_t>(width) * 4);
    compute(implementation, alone, memory);
    const Floats one = read_numbers(c.type, alone.output, width);
    EXPECT_TRUE(std::equal(one.begin(), one.end(), all.begin() + row * together.output_stride))
        << "row " << row << ", seed " << kSeed;
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, Attention,
                         testing::Combine(testing::ValuesIn(implementations_under_test()),
                                          testing::Values(Case{HEARTH_F32, 4, 2, 64, 2e-6},
                                                          Case{HEARTH_F32, 3, 1, 12, 2e-6},
                                                          Case{HEARTH_F32, 20, 1, 16, 2e-6},
                                                          Case{HEARTH_BF16, 4, 2, 128, 3e-3},
                                                          Case{HEARTH_BF16, 16, 8, 128, 3e-3},
                                                          Case{HEARTH_BF16, 8, 1, 128, 3e-3},
                                                          Case{HEARTH_BF16, 7, 1, 80, 3e-3},
                                                          Case{HEARTH_BF16, 9, 1, 16, 3e-3},
                                                          Case{HEARTH_BF16, 2, 2, 256, 3e-3})));

class LongAttention : public testing::TestWithParam<Implementation> {};
INSTANTIATE_TEST_SUITE_P(Tables, LongAttention, testing::ValuesIn(implementations_under_test()),
                         implementation_name);

TEST_P(LongAttention, JoinsManyParts) {
  const auto use = GetParam().use();
  HostMemory memory;
  const Case c{HEARTH_BF16, 4, 2, 128, 3e-3};
  const std::vector<Row> rows = {{0, 4099}, {1, 2047}, {0, 2048}, {1, 5}};
  const HearthAttention expected = make(memory, c, rows), tested = make(memory, c, rows);
  ASSERT_EQ(hearth_kernels_ref()->attention(&expected, nullptr), HEARTH_OK);
  compute(GetParam(), tested, memory);
  EXPECT_LT(relative_error(outputs(tested), outputs(expected)), c.tolerance) << "seed " << kSeed;
}

// One score far above the others: all weight is on one token, and nothing overflows.
TEST_P(LongAttention, StaysFiniteWhenOneTokenTakesAll) {
  const auto use = GetParam().use();
  HostMemory memory;
  const Case c{HEARTH_F32, 1, 1, 16, 2e-6};
  HearthAttention call = make(memory, c, {{0, 600}});
  call.scale = 1e3F;
  HearthAttention expected = call;
  expected.output = memory.allocate(16 * 4);
  ASSERT_EQ(hearth_kernels_ref()->attention(&expected, nullptr), HEARTH_OK);
  compute(GetParam(), call, memory);
  EXPECT_LT(relative_error(read_numbers(HEARTH_F32, call.output, 16),
                           read_numbers(HEARTH_F32, expected.output, 16)),
            1e-3);
}

}  // namespace
}  // namespace hearth::kernels
