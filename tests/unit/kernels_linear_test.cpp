// The linear of every table against the plain one, over formats, rows, epilogues and odd sizes.

#include <algorithm>
#include <cmath>
#include <ostream>
#include <tuple>

#include "models/kernels/formats.h"
#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {
namespace {

struct Case {
  HearthFormat format;
  HearthType type, output_type;
  HearthEpilogue epilogue;
  std::int64_t rows, in_features, out_features;
  bool norm, bias;
  double tolerance;  // relative_error()
};

constexpr const char* kFormatNames[] = {"f32", "bf16", "fp8", "int8", "int4"};
constexpr const char* kEpilogueNames[] = {"store", "add", "swiglu"};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << kFormatNames[c.format] << (c.type == HEARTH_F32 ? " f32" : " bf16") << " to "
             << (c.output_type == HEARTH_F32 ? "f32 " : "bf16 ") << kEpilogueNames[c.epilogue]
             << " rows " << c.rows << " in " << c.in_features << " out " << c.out_features
             << (c.norm ? " norm" : "") << (c.bias ? " bias" : "");
}

constexpr unsigned kSeed = 7;
constexpr std::int64_t kGap = 5;  // elements between rows that nobody may write
constexpr float kUntouched = 123.0f;

HearthMatrix packed(Memory& memory, const Case& c) {
  HearthMatrix matrix{c.format, c.out_features, c.in_features,
                      memory.allocate(hearth_matrix_bytes(c.format, c.out_features, c.in_features)),
                      memory.allocate(hearth_scale_bytes(c.format, c.out_features, c.in_features))};
  const Floats weights = normal_numbers(c.out_features * c.in_features, kSeed, 0.05f);
  const HearthPack pack{matrix, HEARTH_F32, weights.data(), c.out_features, 0, 1};
  EXPECT_EQ(hearth_pack_begin(&matrix), HEARTH_OK);
  EXPECT_EQ(hearth_pack(&pack), HEARTH_OK);
  return matrix;
}

// The call of a case in `memory`, the same numbers every time.
HearthLinear make(Memory& memory, const Case& c) {
  const std::int64_t width = c.out_features / (c.epilogue == HEARTH_SWIGLU ? 2 : 1);
  Floats output(static_cast<std::size_t>(c.rows * (width + kGap)), kUntouched);
  const Floats residual = normal_numbers(c.rows * width, kSeed + 1);
  for (std::int64_t i = 0; i < c.rows * width; ++i)
    output[static_cast<std::size_t>(i / width * (width + kGap) + i % width)] =
        residual[static_cast<std::size_t>(i)];
  const Floats input = normal_numbers(c.rows * (c.in_features + kGap), kSeed + 2);
  return {
      .weight = packed(memory, c),
      .type = c.type,
      .output_type = c.output_type,
      .epilogue = c.epilogue,
      .rows = c.rows,
      .input = memory.numbers(c.type, input),
      .input_stride = c.in_features + kGap,
      .norm = c.norm ? memory.copy(normal_numbers(c.in_features, kSeed + 3)) : nullptr,
      .norm_epsilon = 1e-6f,
      .bias = c.bias ? memory.numbers(c.type, normal_numbers(c.out_features, kSeed + 4)) : nullptr,
      .output = memory.numbers(c.output_type, output),
      .output_stride = width + kGap};
}

Floats outputs(const HearthLinear& call) {
  return read_numbers(call.output_type, call.output, call.rows * call.output_stride);
}

class LinearTable : public testing::TestWithParam<std::tuple<Implementation, Case>> {};

TEST_P(LinearTable, EqualsThePlainLoops) {
  const auto& [implementation, c] = GetParam();
  const auto use = implementation.use();
  HostMemory memory;
  const HearthLinear expected = make(memory, c), tested = make(memory, c);
  ASSERT_EQ(hearth_kernels_ref()->linear(&expected, nullptr), HEARTH_OK);
  ASSERT_EQ(implementation.table->linear(&tested, nullptr), HEARTH_OK);
  EXPECT_LT(relative_error(outputs(tested), outputs(expected)), c.tolerance) << "seed " << kSeed;
  const Floats got = outputs(tested);
  for (std::int64_t r = 0; r < c.rows; ++r)
    for (std::int64_t i = tested.output_stride - kGap; i < tested.output_stride; ++i)
      ASSERT_EQ(got[static_cast<std::size_t>(r * tested.output_stride + i)], kUntouched)
          << "row " << r << ", element " << i;
}

// Errors that rounding explains: of inputs to bf16 2^-9, to 8 bits 1/254 of the largest of 64, of
// outputs to bf16 2^-9. The untouched gaps are in the norm, too, which makes bounds looser still.
INSTANTIATE_TEST_SUITE_P(
    Tables, LinearTable,
    testing::Combine(testing::ValuesIn(implementations_under_test()),
                     testing::Values(Case{HEARTH_FORMAT_F32, HEARTH_F32, HEARTH_F32, HEARTH_STORE,
                                          1, 160, 192, false, false, 1e-6},
                                     Case{HEARTH_FORMAT_F32, HEARTH_F32, HEARTH_F32, HEARTH_SWIGLU,
                                          3, 33, 6, true, true, 1e-6},
                                     Case{HEARTH_FORMAT_F32, HEARTH_F32, HEARTH_F32, HEARTH_ADD, 16,
                                          1, 1, false, true, 1e-6},
                                     Case{HEARTH_FORMAT_F32, HEARTH_F32, HEARTH_F32, HEARTH_STORE,
                                          13, 2051, 103, true, false, 1e-6},
                                     Case{HEARTH_FORMAT_BF16, HEARTH_BF16, HEARTH_BF16,
                                          HEARTH_STORE, 1, 160, 192, false, false, 4e-3},
                                     Case{HEARTH_FORMAT_BF16, HEARTH_BF16, HEARTH_F32, HEARTH_STORE,
                                          16, 416, 161, true, false, 4e-3},
                                     Case{HEARTH_FORMAT_BF16, HEARTH_BF16, HEARTH_BF16, HEARTH_ADD,
                                          7, 31, 9, true, true, 4e-3},
                                     Case{HEARTH_FORMAT_BF16, HEARTH_BF16, HEARTH_BF16,
                                          HEARTH_SWIGLU, 9, 2048, 226, true, true, 6e-3},
                                     Case{HEARTH_FORMAT_BF16, HEARTH_BF16, HEARTH_F32, HEARTH_ADD,
                                          2, 96, 48, false, true, 4e-3},
                                     Case{HEARTH_FORMAT_BF16, HEARTH_BF16, HEARTH_F32, HEARTH_STORE,
                                          1, 1, 1, false, false, 4e-3},
                                     Case{HEARTH_FORMAT_BF16, HEARTH_BF16, HEARTH_F32, HEARTH_STORE,
                                          15, 335, 49, false, false, 4e-3},
                                     Case{HEARTH_FORMAT_FP8, HEARTH_F32, HEARTH_F32, HEARTH_ADD, 1,
                                          77, 33, true, true, 1e-6},
                                     Case{HEARTH_FORMAT_FP8, HEARTH_BF16, HEARTH_BF16, HEARTH_STORE,
                                          16, 512, 80, true, false, 4e-3},
                                     Case{HEARTH_FORMAT_FP8, HEARTH_BF16, HEARTH_F32, HEARTH_SWIGLU,
                                          5, 96, 64, false, true, 1e-6},
                                     Case{HEARTH_FORMAT_INT8, HEARTH_F32, HEARTH_F32, HEARTH_STORE,
                                          1, 128, 48, false, false, 1e-2},
                                     Case{HEARTH_FORMAT_INT8, HEARTH_BF16, HEARTH_BF16, HEARTH_ADD,
                                          3, 100, 33, true, true, 1e-2},
                                     Case{HEARTH_FORMAT_INT8, HEARTH_BF16, HEARTH_F32,
                                          HEARTH_SWIGLU, 16, 2048, 224, true, false, 2e-2},
                                     Case{HEARTH_FORMAT_INT8, HEARTH_BF16, HEARTH_F32, HEARTH_STORE,
                                          12, 320, 161, false, true, 1e-2},
                                     Case{HEARTH_FORMAT_INT4, HEARTH_BF16, HEARTH_F32, HEARTH_STORE,
                                          8, 64, 33, false, true, 1e-2},
                                     Case{HEARTH_FORMAT_INT4, HEARTH_F32, HEARTH_F32, HEARTH_STORE,
                                          1, 128, 48, false, false, 1e-2},
                                     Case{HEARTH_FORMAT_INT4, HEARTH_BF16, HEARTH_BF16, HEARTH_ADD,
                                          11, 1, 1, false, true, 1e-2},
                                     Case{HEARTH_FORMAT_INT4, HEARTH_BF16, HEARTH_BF16, HEARTH_ADD,
                                          6, 200, 50, true, true, 1e-2},
                                     Case{HEARTH_FORMAT_INT4, HEARTH_BF16, HEARTH_F32,
                                          HEARTH_SWIGLU, 16, 2048, 224, true, false, 2e-2})));

struct RowCase {
  HearthFormat format;
  std::int64_t in_features, out_features;
};

class LinearRows : public testing::TestWithParam<std::tuple<Implementation, RowCase>> {};

// What a row would get alone it gets beside any others, at any place, to the bit.
TEST_P(LinearRows, AreIndependentOfTheirCompany) {
  const auto& [implementation, shape] = GetParam();
  const auto use = implementation.use();
  const HearthType type = shape.format == HEARTH_FORMAT_F32 ? HEARTH_F32 : HEARTH_BF16;
  HostMemory memory;
  const Case all{
      shape.format,       type, HEARTH_F32, HEARTH_STORE, HEARTH_MAX_ROWS, shape.in_features,
      shape.out_features, true, true,       0.0};
  HearthLinear call = make(memory, all);
  std::vector<Floats> alone;
  const auto row_input = [&](std::int64_t r) {
    return static_cast<const char*>(call.input) +
           static_cast<std::size_t>(r * call.input_stride) * item_bytes(type);
  };
  HearthLinear one = call;
  one.rows = 1;
  for (std::int64_t r = 0; r < HEARTH_MAX_ROWS; ++r) {
    one.input = row_input(r);
    ASSERT_EQ(implementation.table->linear(&one, nullptr), HEARTH_OK);
    alone.push_back(read_numbers(HEARTH_F32, one.output, shape.out_features));
  }
  for (std::int64_t rows = 1; rows <= HEARTH_MAX_ROWS; ++rows) {
    HearthLinear some = call;
    const std::int64_t first = HEARTH_MAX_ROWS - rows;
    some.rows = rows;
    some.input = row_input(first);
    ASSERT_EQ(implementation.table->linear(&some, nullptr), HEARTH_OK);
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* got = static_cast<const float*>(some.output) + r * some.output_stride;
      ASSERT_TRUE(std::equal(got, got + shape.out_features,
                             alone[static_cast<std::size_t>(first + r)].begin()))
          << "row " << r << " of " << rows << ", seed " << kSeed;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, LinearRows,
                         testing::Combine(testing::ValuesIn(implementations_under_test()),
                                          testing::Values(RowCase{HEARTH_FORMAT_F32, 1101, 61},
                                                          RowCase{HEARTH_FORMAT_BF16, 1101, 61},
                                                          RowCase{HEARTH_FORMAT_BF16, 2048, 96},
                                                          RowCase{HEARTH_FORMAT_BF16, 31, 17},
                                                          RowCase{HEARTH_FORMAT_FP8, 1101, 61},
                                                          RowCase{HEARTH_FORMAT_INT8, 1101, 61},
                                                          RowCase{HEARTH_FORMAT_INT8, 64, 160},
                                                          RowCase{HEARTH_FORMAT_INT4, 2048, 96},
                                                          RowCase{HEARTH_FORMAT_INT4, 1101, 61})));

class LinearQuantised : public testing::TestWithParam<HearthFormat> {};

TEST_P(LinearQuantised, SaysThatAnInputWasNotFinite) {
  HostMemory memory;
  for (const Implementation& implementation : implementations_under_test()) {
    const auto use = implementation.use();
    for (const float poison : {std::nanf(""), INFINITY}) {
      HearthLinear call = make(memory, {GetParam(), HEARTH_F32, HEARTH_F32, HEARTH_STORE, 2, 192,
                                        32, false, false, 0.0});
      const_cast<float*>(static_cast<const float*>(call.input))[70] = poison;
      ASSERT_EQ(implementation.table->linear(&call, nullptr), HEARTH_OK);
      const Floats y = outputs(call);
      EXPECT_FALSE(std::isfinite(y[0])) << implementation << ", " << poison;
      EXPECT_TRUE(std::isfinite(y[static_cast<std::size_t>(call.output_stride)]))
          << "the other row must not suffer: " << implementation;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Formats, LinearQuantised,
                         testing::Values(HEARTH_FORMAT_INT8, HEARTH_FORMAT_INT4));

TEST(Linear, RefusesWhatItCannotCompute) {
  HostMemory memory;
  const HearthLinear good = make(memory, {HEARTH_FORMAT_BF16, HEARTH_BF16, HEARTH_BF16,
                                          HEARTH_STORE, 2, 64, 32, true, true, 0.0});
  const auto spoil = [&](auto change) {
    HearthLinear bad = good;
    change(bad);
    for (const HearthKernels* table : {hearth_kernels_ref(), hearth_kernels_cpu()})
      EXPECT_EQ(table->linear(&bad, nullptr), HEARTH_BAD_ARGUMENT) << table->name;
  };
  EXPECT_EQ(hearth_kernels_cpu()->linear(&good, nullptr), HEARTH_OK);
  EXPECT_EQ(hearth_kernels_cpu()->linear(nullptr, nullptr), HEARTH_BAD_ARGUMENT);
  spoil([](HearthLinear& l) { l.rows = 0; });
  spoil([](HearthLinear& l) { l.rows = HEARTH_MAX_ROWS + 1; });
  spoil([](HearthLinear& l) { l.input = nullptr; });
  spoil([](HearthLinear& l) { l.output = nullptr; });
  spoil([](HearthLinear& l) { l.weight.data = nullptr; });
  spoil([](HearthLinear& l) {
    l.weight.format = HEARTH_FORMAT_INT8;
    l.weight.scales = nullptr;
  });
  spoil([](HearthLinear& l) { l.weight.format = HEARTH_FORMAT_F32; });  // with bf16 inputs
  spoil([](HearthLinear& l) { l.input_stride = 63; });
  spoil([](HearthLinear& l) { l.output_stride = 31; });
  spoil([](HearthLinear& l) {
    l.epilogue = HEARTH_SWIGLU;
    l.weight.out_features = 31;
  });
}

}  // namespace
}  // namespace hearth::kernels
