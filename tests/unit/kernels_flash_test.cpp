// Attention of many rows by AMX against sums in fp64. Buffers end at unreadable pages.

#include <algorithm>
#include <cmath>
#include <ostream>
#include <vector>

#include <gtest/gtest.h>

#include "models/kernels/cpu/team.h"
#include "models/kernels/gemm.h"
#include "tests/unit/guarded_memory_for_test.h"

namespace hearth::kernels {
namespace {

constexpr unsigned kSeed = 31126;

#define HEARTH_SKIP_WITHOUT_AMX() \
  if (hearth_gemm_cpu_available() == 0) GTEST_SKIP() << "no AMX here, so nothing was computed"

struct Case {
  std::int64_t rows, heads, kv_heads, head_dim;
  std::int64_t first;                  // causal: keys before the rows
  std::vector<std::int32_t> segments;  // empty: causal
  float sharpness;                     // of the scores: their scale in units of head_dim^-0.5
  double tolerance;                    // of relative_error()
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.rows << " rows, heads " << c.heads << "/" << c.kv_heads << ", head_dim "
             << c.head_dim << ", first " << c.first << ", segments " << c.segments.size()
             << ", sharpness " << c.sharpness;
}

// Queries apart, keys and values as [kv_heads, length, head_dim].
HearthFlash make(Memory& memory, const Case& c) {
  HearthFlash call{};
  call.rows = c.rows;
  call.heads = c.heads;
  call.kv_heads = c.kv_heads;
  call.head_dim = c.head_dim;
  call.query_stride = c.heads * c.head_dim + 8;
  call.output_stride = c.heads * c.head_dim + 4;
  call.length = c.segments.empty() ? c.first + c.rows : c.rows;
  call.first = c.first;
  call.token_stride = c.head_dim;
  call.head_stride = call.length * c.head_dim;
  call.scale = c.sharpness / std::sqrt(static_cast<float>(c.head_dim));
  const std::int64_t keys = c.kv_heads * call.length * c.head_dim;
  call.query = memory.numbers(HEARTH_BF16, normal_numbers(c.rows * call.query_stride - 8, kSeed));
  call.keys = memory.numbers(HEARTH_BF16, normal_numbers(keys, kSeed + 1));
  call.values = memory.numbers(HEARTH_BF16, normal_numbers(keys, kSeed + 2));
  call.output = memory.numbers(
      HEARTH_BF16, Floats(static_cast<std::size_t>(c.rows * call.output_stride - 4), 0.0f));
  if (!c.segments.empty()) {
    call.segments = memory.copy(c.segments);
    call.segment_count = static_cast<std::int64_t>(c.segments.size()) - 1;
  }
  return call;
}

// The keys that a row sees.
std::pair<std::int64_t, std::int64_t> seen_by(const HearthFlash& call, std::int64_t row) {
  if (call.segments == nullptr) return {0, call.first + row + 1};
  std::int64_t s = 0;
  while (call.segments[s + 1] <= row) ++s;
  return {call.segments[s], call.segments[s + 1]};
}

// One head of one row. [head_dim]
std::vector<double> attended(const HearthFlash& call, std::int64_t row, std::int64_t head) {
  const auto* query =
      static_cast<const BFloat16*>(call.query) + row * call.query_stride + head * call.head_dim;
  const std::int64_t kv_offset = head * call.kv_heads / call.heads * call.head_stride;
  const auto* keys = static_cast<const BFloat16*>(call.keys) + kv_offset;
  const auto* values = static_cast<const BFloat16*>(call.values) + kv_offset;
  const auto [begin, end] = seen_by(call, row);
  std::vector<double> scores;
  for (std::int64_t t = begin; t < end; ++t) {
    double score = 0.0;
    for (std::int64_t i = 0; i < call.head_dim; ++i)
      score += double{to_float(query[i])} * to_float(keys[t * call.token_stride + i]);
    scores.push_back(score * call.scale);
  }
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0.0;
  for (double& score : scores) sum += score = std::exp(score - largest);
  std::vector<double> output(static_cast<std::size_t>(call.head_dim), 0.0);
  for (std::int64_t t = begin; t < end; ++t)
    for (std::int64_t i = 0; i < call.head_dim; ++i)
      output[static_cast<std::size_t>(i)] += scores[static_cast<std::size_t>(t - begin)] / sum *
                                             to_float(values[t * call.token_stride + i]);
  return output;
}

Floats output_of(const HearthFlash& call) {
  return read_numbers(HEARTH_BF16, call.output,
                      (call.rows - 1) * call.output_stride + call.heads * call.head_dim);
}

// Gaps between the rows are zero.
Floats expected_output(const HearthFlash& call) {
  Floats output(
      static_cast<std::size_t>((call.rows - 1) * call.output_stride + call.heads * call.head_dim),
      0.0f);
  for (std::int64_t row = 0; row < call.rows; ++row)
    for (std::int64_t head = 0; head < call.heads; ++head) {
      const std::vector<double> y = attended(call, row, head);
      for (std::size_t i = 0; i < y.size(); ++i)
        output[static_cast<std::size_t>(row * call.output_stride + head * call.head_dim) + i] =
            static_cast<float>(y[i]);
    }
  return output;
}

class Flash : public testing::TestWithParam<Case> {};

TEST_P(Flash, EqualsSumsInDoublePrecision) {
  HEARTH_SKIP_WITHOUT_AMX();
  GuardedMemory memory;
  const HearthFlash call = make(memory, GetParam());
  ASSERT_EQ(hearth_flash_cpu(&call), HEARTH_OK);
  EXPECT_LT(relative_error(output_of(call), expected_output(call)), GetParam().tolerance)
      << "seed " << kSeed;
}

// Weights and outputs are rounded to bf16: 2^-9 each.
INSTANTIATE_TEST_SUITE_P(
    Cases, Flash,
    testing::Values(
        Case{1, 1, 1, 1, 0, {}, 1.0f, 4e-3}, Case{17, 2, 1, 64, 0, {}, 1.0f, 4e-3},
        Case{300, 4, 2, 128, 0, {}, 1.0f, 4e-3}, Case{70, 6, 2, 80, 511, {}, 1.0f, 4e-3},
        Case{40, 3, 3, 72, 256, {}, 4.0f, 4e-3}, Case{33, 8, 1, 256, 100, {}, 1.0f, 4e-3},
        Case{64, 2, 2, 40, 0, {0, 64}, 1.0f, 4e-3}, Case{600, 2, 2, 64, 0, {0, 600}, 30.0f, 4e-3},
        Case{333, 2, 2, 72, 0, {0, 1, 18, 18, 49, 310, 333}, 1.0f, 4e-3},
        Case{200, 4, 4, 80, 0, {0, 64, 128, 192, 200}, 1.0f, 4e-3}));

// Queries, keys and values of a vision tower lie in one tensor [rows, 3, heads, head_dim].
TEST(Flash, ReadsKeysWhereTheyLie) {
  HEARTH_SKIP_WITHOUT_AMX();
  GuardedMemory memory;
  const Case c{90, 2, 2, 64, 0, {0, 50, 90}, 1.0f, 4e-3};
  HearthFlash call = make(memory, c);
  const std::int64_t width = c.heads * c.head_dim;
  auto* qkv = static_cast<BFloat16*>(
      memory.numbers(HEARTH_BF16, normal_numbers(c.rows * 3 * width, kSeed)));
  call.query = qkv;
  call.keys = qkv + width;
  call.values = qkv + 2 * width;
  call.query_stride = call.token_stride = 3 * width;
  call.head_stride = c.head_dim;
  ASSERT_EQ(hearth_flash_cpu(&call), HEARTH_OK);
  EXPECT_LT(relative_error(output_of(call), expected_output(call)), c.tolerance);
}

HearthFlash rows_of(const HearthFlash& all, std::int64_t first, std::int64_t rows) {
  HearthFlash some = all;
  some.rows = rows;
  some.first = all.first + first;
  some.query = static_cast<const BFloat16*>(all.query) + first * all.query_stride;
  some.output = static_cast<BFloat16*>(all.output) + first * all.output_stride;
  return some;
}

TEST(Flash, RowsHaveTheSameBitsHoweverAPromptIsCutOnAnyThreads) {
  HEARTH_SKIP_WITHOUT_AMX();
  GuardedMemory memory;
  const HearthFlash call = make(memory, {700, 4, 2, 80, 30, {}, 2.0f, 0.0});
  ASSERT_EQ(hearth_flash_cpu(&call), HEARTH_OK);
  const Floats whole = output_of(call);
  const int threads = cpu::team_threads();
  for (const int team : {1, 2, 5}) {
    cpu::set_team_threads(team);
    for (const std::int64_t step : {700, 512, 113, 33}) {
      for (std::int64_t first = 0; first < call.rows; first += step) {
        const HearthFlash some = rows_of(call, first, std::min(step, call.rows - first));
        ASSERT_EQ(hearth_flash_cpu(&some), HEARTH_OK);
      }
      ASSERT_EQ(output_of(call), whole)
          << "in steps of " << step << ", " << team << " threads, seed " << kSeed;
    }
  }
  cpu::set_team_threads(threads);
}

TEST(Flash, ASegmentHasTheSameBitsAloneAndBesideOthers) {
  HEARTH_SKIP_WITHOUT_AMX();
  GuardedMemory memory;
  const HearthFlash all = make(memory, {420, 2, 2, 64, 0, {0, 100, 420}, 1.0f, 0.0});
  ASSERT_EQ(hearth_flash_cpu(&all), HEARTH_OK);
  const Floats together = output_of(all);
  const std::vector<std::int32_t> segment = {0, 320};
  HearthFlash one = rows_of(all, 100, 320);
  one.segments = segment.data();
  one.segment_count = 1;
  one.length = one.rows;
  one.keys = static_cast<const BFloat16*>(all.keys) + 100 * all.token_stride;
  one.values = static_cast<const BFloat16*>(all.values) + 100 * all.token_stride;
  ASSERT_EQ(hearth_flash_cpu(&one), HEARTH_OK);
  EXPECT_EQ(output_of(all), together) << "seed " << kSeed;
}

TEST(Flash, IsNotSupportedAtALowerLevel) {
  GuardedMemory memory;
  const HearthFlash call = make(memory, {20, 2, 2, 64, 0, {}, 1.0f, 0.0});
  const Implementation::Use lower(cpu::Level::generic);
  EXPECT_EQ(hearth_flash_cpu(&call), HEARTH_UNSUPPORTED);
}

TEST(Flash, RefusesWhatItCannotCompute) {
  GuardedMemory memory;
  const HearthFlash causal = make(memory, {20, 4, 2, 64, 0, {}, 1.0f, 0.0});
  const HearthFlash full = make(memory, {20, 4, 2, 64, 0, {0, 12, 20}, 1.0f, 0.0});
  const auto spoil = [&](const HearthFlash& good, auto change) {
    HearthFlash bad = good;
    change(bad);
    EXPECT_EQ(hearth_flash_cpu(&bad), HEARTH_BAD_ARGUMENT);
  };
  EXPECT_EQ(hearth_flash_cpu(nullptr), HEARTH_BAD_ARGUMENT);
  spoil(causal, [](HearthFlash& f) { f.rows = 0; });
  spoil(causal, [](HearthFlash& f) { f.keys = nullptr; });
  spoil(causal, [](HearthFlash& f) { f.heads = 3; });
  spoil(causal, [](HearthFlash& f) { f.kv_heads = 0; });
  spoil(causal, [](HearthFlash& f) { f.head_dim = 257; });
  spoil(causal, [](HearthFlash& f) { f.first = -1; });
  spoil(causal, [](HearthFlash& f) { f.first = 1; });  // the last row would see one key too many
  spoil(causal, [](HearthFlash& f) { f.query_stride = 255; });
  spoil(causal, [](HearthFlash& f) { f.token_stride = 63; });
  spoil(causal, [](HearthFlash& f) { f.scale = 0.0f; });
  spoil(full, [](HearthFlash& f) { f.length = 21; });
  spoil(full, [](HearthFlash& f) { f.segment_count = 0; });
  spoil(full, [](HearthFlash& f) { f.segment_count = 1; });  // does not reach the last row
  const std::vector<std::int32_t> backwards = {0, 21, 20};
  spoil(full, [&](HearthFlash& f) { f.segments = backwards.data(); });
}

}  // namespace
}  // namespace hearth::kernels
