// Embedding, norms, SwiGLU and gather: every table against the plain loops.

#include <algorithm>
#include <limits>
#include <ostream>
#include <tuple>

#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {
namespace {

constexpr unsigned kSeed = 11;
constexpr std::int64_t kGap = 3;  // elements between rows that nobody may write
constexpr float kUntouched = 77.0F;

template <class Call>
using Function = HearthStatus (*HearthKernels::*)(const Call*, void*);

// Runs `make(memory)` by the plain loops and by the table, and compares what `read` finds.
template <class Call, class Make, class Read>
void expect_equal(const Implementation& implementation, Function<Call> function, const Make& make,
                  const Read& read, double tolerance) {
  const auto use = implementation.use();
  HostMemory memory;
  const Call expected = make(memory), tested = make(memory);
  ASSERT_EQ((hearth_kernels_ref()->*function)(&expected, nullptr), HEARTH_OK);
  ASSERT_EQ((implementation.table->*function)(&tested, memory.stream()), HEARTH_OK);
  memory.wait();
  EXPECT_LE(relative_error(read(tested), read(expected)), tolerance) << "seed " << kSeed;
}

struct Shape {
  HearthType type;
  std::int64_t rows, width;
  double tolerance;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  return out << (shape.type == HEARTH_F32 ? "f32 " : "bf16 ") << shape.rows << " x " << shape.width;
}

using Parameter = std::tuple<Implementation, Shape>;
class RowOperations : public testing::TestWithParam<Parameter> {
 protected:
  const Implementation& implementation() const { return std::get<0>(GetParam()); }
  const Shape& shape() const { return std::get<1>(GetParam()); }
  std::int64_t stride() const { return shape().width + kGap; }
  std::int64_t size() const { return shape().rows * stride(); }
  void* untouched(Memory& memory) const {
    return memory.numbers(shape().type, Floats(static_cast<std::size_t>(size()), kUntouched));
  }
};

TEST_P(RowOperations, EmbedCopiesRowsAndWritesZerosForUnknownTokens) {
  constexpr std::int64_t kVocabulary = 50;
  std::vector<std::int32_t> tokens;
  for (std::int64_t row = 0; row < shape().rows; ++row)
    tokens.push_back(static_cast<std::int32_t>(row * 7 % (kVocabulary + 3)) - 1);
  expect_equal<HearthEmbed>(
      implementation(), &HearthKernels::embed,
      [&](Memory& memory) {
        return HearthEmbed{.type = shape().type,
                           .table = memory.numbers(
                               shape().type, normal_numbers(kVocabulary * shape().width, kSeed)),
                           .vocabulary = kVocabulary,
                           .width = shape().width,
                           .token = memory.copy(tokens),
                           .rows = shape().rows,
                           .output = untouched(memory),
                           .output_stride = stride()};
      },
      [&](const HearthEmbed& call) { return read_numbers(call.type, call.output, size()); }, 0.0);
}

TEST_P(RowOperations, RmsNormAddsTheResidualFirstAndKeepsTheSum) {
  for (const bool with_residual : {false, true}) {
    SCOPED_TRACE(with_residual);
    expect_equal<HearthRmsNorm>(
        implementation(), &HearthKernels::rms_norm,
        [&](Memory& memory) {
          const HearthType type = shape().type;
          return HearthRmsNorm{
              .type = type,
              .rows = shape().rows,
              .width = shape().width,
              .input = memory.numbers(type, normal_numbers(size(), kSeed, 3.0F)),
              .input_stride = stride(),
              .residual =
                  with_residual ? memory.numbers(type, normal_numbers(size(), kSeed + 1)) : nullptr,
              .residual_stride = stride(),
              .weight = memory.copy(normal_numbers(shape().width, kSeed + 2)),
              .epsilon = 1e-6F,
              .output = untouched(memory),
              .output_stride = stride()};
        },
        [&](const HearthRmsNorm& call) {
          Floats both = read_numbers(call.type, call.output, size());
          const Floats input = read_numbers(call.type, call.input, size());
          both.insert(both.end(), input.begin(), input.end());
          return both;
        },
        shape().tolerance);
  }
}

TEST_P(RowOperations, RmsNormWorksInPlace) {
  expect_equal<HearthRmsNorm>(
      implementation(), &HearthKernels::rms_norm,
      [&](Memory& memory) {
        void* both = memory.numbers(shape().type, normal_numbers(size(), kSeed));
        return HearthRmsNorm{.type = shape().type,
                             .rows = shape().rows,
                             .width = shape().width,
                             .input = both,
                             .input_stride = stride(),
                             .residual = nullptr,
                             .residual_stride = 0,
                             .weight = memory.copy(normal_numbers(shape().width, kSeed + 2)),
                             .epsilon = 1e-6F,
                             .output = both,
                             .output_stride = stride()};
      },
      [&](const HearthRmsNorm& call) { return read_numbers(call.type, call.output, size()); },
      shape().tolerance);
}

TEST_P(RowOperations, SwiGluTakesGateAndUpInTurns) {
  expect_equal<HearthSwiGlu>(
      implementation(), &HearthKernels::swiglu,
      [&](Memory& memory) {
        Floats input = normal_numbers(2 * size(), kSeed, 4.0F);
        input[0] = -200.0F;  // e^200 is beyond fp32
        return HearthSwiGlu{.type = shape().type,
                            .rows = shape().rows,
                            .width = shape().width,
                            .input = memory.numbers(shape().type, input),
                            .input_stride = 2 * stride(),
                            .output = untouched(memory),
                            .output_stride = stride()};
      },
      [&](const HearthSwiGlu& call) { return read_numbers(call.type, call.output, size()); },
      shape().tolerance);
}

TEST_P(RowOperations, GateMultipliesByTheSigmoidOfANumberEachOrOfOneForTheRow) {
  for (const HearthType gate_type : {HEARTH_F32, shape().type})
    for (const std::int64_t gates : {std::int64_t{1}, shape().width})
      expect_equal<HearthGate>(
          implementation(), &HearthKernels::gate,
          [&](Memory& memory) {
            Floats gate = normal_numbers(size(), kSeed + 5, 4.0F);
            gate[0] = -200.0F;  // e^200 is beyond fp32
            return HearthGate{.type = shape().type,
                              .rows = shape().rows,
                              .width = shape().width,
                              .gate_type = gate_type,
                              .gates = gates,
                              .gate = memory.numbers(gate_type, gate),
                              .gate_stride = stride(),
                              .output = memory.numbers(shape().type, normal_numbers(size(), kSeed)),
                              .output_stride = stride()};
          },
          [&](const HearthGate& call) { return read_numbers(call.type, call.output, size()); },
          shape().tolerance);
}

// Of bf16 a few results fall on the other side of a rounding border: each is then 2^-8 apart.
INSTANTIATE_TEST_SUITE_P(Tables, RowOperations,
                         testing::Combine(testing::ValuesIn(implementations_under_test()),
                                          testing::Values(Shape{HEARTH_F32, 1, 64, 1e-6},
                                                          Shape{HEARTH_F32, 5, 7, 1e-6},
                                                          Shape{HEARTH_F32, 16, 1111, 1e-6},
                                                          Shape{HEARTH_BF16, 1, 2048, 1e-3},
                                                          Shape{HEARTH_BF16, 3, 1, 4e-3},
                                                          Shape{HEARTH_BF16, 16, 75, 1e-3},
                                                          Shape{HEARTH_BF16, 512, 640, 1e-3})));

class Operations : public testing::TestWithParam<Implementation> {};
INSTANTIATE_TEST_SUITE_P(Tables, Operations, testing::ValuesIn(implementations_under_test()),
                         implementation_name);

TEST_P(Operations, RmsNormOfARowHasTheSameBitsInAnyCompany) {
  const auto use = GetParam().use();
  constexpr std::int64_t kWidth = 1000, kRows = 300;
  HostMemory memory;
  HearthRmsNorm call{.type = HEARTH_F32,
                     .rows = kRows,
                     .width = kWidth,
                     .input = memory.copy(normal_numbers(kRows * kWidth, kSeed)),
                     .input_stride = kWidth,
                     .residual = nullptr,
                     .residual_stride = 0,
                     .weight = memory.copy(normal_numbers(kWidth, kSeed + 1)),
                     .epsilon = 1e-6F,
                     .output = memory.allocate(kRows * kWidth * 4),
                     .output_stride = kWidth};
  ASSERT_EQ(GetParam().table->rms_norm(&call, memory.stream()), HEARTH_OK);
  memory.wait();
  const Floats together = read_numbers(HEARTH_F32, call.output, kRows * kWidth);
  call.rows = 1;
  for (const std::int64_t row : {0, 17, 299}) {
    HearthRmsNorm one = call;
    one.input = static_cast<float*>(call.input) + row * kWidth;
    ASSERT_EQ(GetParam().table->rms_norm(&one, memory.stream()), HEARTH_OK);
    memory.wait();
    const Floats alone = read_numbers(HEARTH_F32, one.output, kWidth);
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + row * kWidth)) << row;
  }
}

TEST_P(Operations, GatherFollowsThePageTable) {
  constexpr std::int64_t kPages = 9, kKvHeads = 3, kHeadDim = 20;
  for (const HearthType type : {HEARTH_F32, HEARTH_BF16}) {
    for (const std::int64_t tokens : {1, 31, 32, 33, 100}) {
      SCOPED_TRACE(tokens);
      expect_equal<HearthGather>(
          GetParam(), &HearthKernels::gather,
          [&](Memory& memory) {
            const std::int64_t page = 2 * kKvHeads * HEARTH_PAGE_TOKENS * kHeadDim;
            const std::vector<std::int32_t> table = {0, 1, 2, 3, 8, 2, 5, 0};
            const std::size_t bytes = static_cast<std::size_t>(kKvHeads * tokens * kHeadDim) * 4;
            return HearthGather{
                .cache = {.type = type,
                          .pages = memory.numbers(type, normal_numbers(kPages * page, kSeed)),
                          .table = memory.copy(table),
                          .table_stride = 4,
                          .kv_heads = kKvHeads,
                          .head_dim = kHeadDim},
                .slot = 1,
                .tokens = tokens,
                .keys = memory.allocate(bytes),
                .values = memory.allocate(bytes)};
          },
          [&](const HearthGather& call) {
            const std::int64_t count = kKvHeads * tokens * kHeadDim;
            Floats both = read_numbers(type, call.keys, count);
            const Floats values = read_numbers(type, call.values, count);
            both.insert(both.end(), values.begin(), values.end());
            return both;
          },
          0.0);
    }
  }
}

TEST_P(Operations, RefuseWhatTheyCannotCompute) {
  const HearthKernels& table = *GetParam().table;
  EXPECT_EQ(table.embed(nullptr, nullptr), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(table.rope_angles(nullptr, nullptr), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(table.rope_write(nullptr, nullptr), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(table.conv_step(nullptr, nullptr), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(table.delta_step(nullptr, nullptr), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(table.sample(nullptr, nullptr), HEARTH_BAD_ARGUMENT);
  float one = 1.0F;
  HearthRmsNorm norm{.type = HEARTH_F32,
                     .rows = 1,
                     .width = 1,
                     .input = &one,
                     .input_stride = 0,
                     .residual = nullptr,
                     .residual_stride = 0,
                     .weight = &one,
                     .epsilon = 0.0F,
                     .output = &one,
                     .output_stride = 1};
  EXPECT_EQ(table.rms_norm(&norm, nullptr), HEARTH_BAD_ARGUMENT) << "a stride below the width";
  norm.input_stride = 1;
  norm.weight = nullptr;
  EXPECT_EQ(table.rms_norm(&norm, nullptr), HEARTH_BAD_ARGUMENT) << "no weight";
  const HearthSwiGlu glu{.type = HEARTH_F32,
                         .rows = 0,
                         .width = 1,
                         .input = &one,
                         .input_stride = 2,
                         .output = &one,
                         .output_stride = 1};
  EXPECT_EQ(table.swiglu(&glu, nullptr), HEARTH_BAD_ARGUMENT) << "no rows";
  HearthGate gate{.type = HEARTH_F32,
                  .rows = 1,
                  .width = 4,
                  .gate_type = HEARTH_F32,
                  .gates = 2,
                  .gate = &one,
                  .gate_stride = 4,
                  .output = &one,
                  .output_stride = 4};
  EXPECT_EQ(table.gate(&gate, nullptr), HEARTH_BAD_ARGUMENT) << "neither one gate nor all";
  gate.gates = 4;
  gate.gate_type = HEARTH_BF16;
  EXPECT_EQ(table.gate(&gate, nullptr), HEARTH_BAD_ARGUMENT) << "coarser gates than numbers";
  const std::int32_t slot = 0;
  const HearthAttention attention{.type = HEARTH_F32,
                                  .rows = 1,
                                  .heads = 3,
                                  .query = &one,
                                  .query_stride = 3,
                                  .slot = &slot,
                                  .index = &slot,
                                  .most_tokens = 1,
                                  .scale = 1.0F,
                                  .cache = {.type = HEARTH_F32,
                                            .pages = &one,
                                            .table = &slot,
                                            .table_stride = 1,
                                            .kv_heads = 2,
                                            .head_dim = 1},
                                  .output = &one,
                                  .output_stride = 3,
                                  .workspace = &one};
  EXPECT_EQ(table.attention(&attention, nullptr), HEARTH_BAD_ARGUMENT) << "3 heads on 2 key heads";
}

}  // namespace
}  // namespace hearth::kernels
