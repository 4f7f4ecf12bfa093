// Products of many rows by AMX against sums in fp64, over formats, epilogues and odd sizes. Buffers
// end at unreadable pages.

#include <algorithm>
#include <cmath>
#include <ostream>
#include <vector>

#include <gtest/gtest.h>

#include "models/kernels/cpu/team.h"
#include "models/kernels/formats.h"
#include "models/kernels/gemm.h"
#include "tests/unit/guarded_memory_for_test.h"

namespace hearth::kernels {
namespace {

constexpr unsigned kSeed = 20261;
constexpr std::int64_t kGap = 3;
constexpr float kUntouched = -77.0f;

#define HEARTH_SKIP_WITHOUT_AMX() \
  if (hearth_gemm_cpu_available() == 0) GTEST_SKIP() << "no AMX here, so nothing was computed"

struct Case {
  HearthFormat format;
  HearthType output_type;
  HearthEpilogue epilogue;
  HearthActivation activation;
  HearthNorm norm;
  std::int64_t rows, in_features, out_features;
  double tolerance;  // of relative_error()
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << "format " << c.format << " output " << c.output_type << " epilogue " << c.epilogue
             << " activation " << c.activation << " norm " << c.norm << " rows " << c.rows << " in "
             << c.in_features << " out " << c.out_features;
}

HearthMatrix make_matrix(Memory& memory, const Case& c) {
  HearthMatrix matrix{c.format, c.out_features, c.in_features,
                      memory.allocate(hearth_matrix_bytes(c.format, c.out_features, c.in_features)),
                      nullptr};
  const std::size_t bytes = hearth_scale_bytes(c.format, c.out_features, c.in_features);
  if (bytes > 0) matrix.scales = memory.allocate(bytes);
  EXPECT_EQ(hearth_pack_begin(&matrix), HEARTH_OK);
  const float deviation = 1.0f / std::sqrt(static_cast<float>(c.in_features));
  const Floats source = normal_numbers(c.out_features * c.in_features, kSeed, deviation);
  const HearthPack pack{matrix, HEARTH_F32, source.data(), c.out_features, 0, 1};
  EXPECT_EQ(hearth_pack(&pack), HEARTH_OK);
  return matrix;
}

std::int64_t width_of(const Case& c) {
  return c.out_features / (c.epilogue == HEARTH_SWIGLU ? 2 : 1);
}

HearthGemm make(Memory& memory, const Case& c) {
  HearthGemm call{};
  call.weight = make_matrix(memory, c);
  call.output_type = c.output_type;
  call.epilogue = c.epilogue;
  call.activation = c.activation;
  call.rows = c.rows;
  call.input_stride = c.in_features + kGap;
  call.output_stride = width_of(c) + kGap;
  // The last row's gap is no part of a tensor.
  call.input =
      memory.numbers(HEARTH_BF16, normal_numbers(c.rows * call.input_stride - kGap, kSeed + 1));
  Floats before(static_cast<std::size_t>(c.rows * call.output_stride - kGap), kUntouched);
  const Floats residual = normal_numbers(static_cast<std::int64_t>(before.size()), kSeed + 2);
  for (std::size_t i = 0; i < before.size(); ++i)
    if (static_cast<std::int64_t>(i) % call.output_stride < width_of(c)) before[i] = residual[i];
  call.output = memory.numbers(c.output_type, before);
  call.norm = c.norm;
  call.norm_epsilon = 1e-6f;
  call.norm_weight = memory.copy(normal_numbers(c.in_features, kSeed + 3));
  call.norm_bias = memory.copy(normal_numbers(c.in_features, kSeed + 4));
  call.bias = memory.numbers(HEARTH_BF16, normal_numbers(c.out_features, kSeed + 5));
  return call;
}

std::vector<double> input_row(const HearthGemm& call, std::int64_t row) {
  const std::int64_t width = call.weight.in_features;
  const auto* input = static_cast<const BFloat16*>(call.input) + row * call.input_stride;
  std::vector<double> x;
  for (std::int64_t i = 0; i < width; ++i) x.push_back(to_float(input[i]));
  if (call.norm == HEARTH_NO_NORM) return x;
  double mean = 0.0, squares = 0.0;
  for (const double v : x) mean += v / static_cast<double>(width);
  if (call.norm == HEARTH_RMS_NORM) mean = 0.0;
  for (const double v : x) squares += (v - mean) * (v - mean) / static_cast<double>(width);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = (x[i] - mean) / std::sqrt(squares + double{call.norm_epsilon}) * call.norm_weight[i];
    if (call.norm == HEARTH_LAYER_NORM) x[i] += call.norm_bias[i];
  }
  return x;
}

double activated(HearthActivation activation, double y) {
  const double inner = std::sqrt(2.0 / M_PI) * (y + 0.044715 * y * y * y);
  if (activation == HEARTH_GELU_TANH) return y / 2.0 * (1.0 + std::tanh(inner));
  if (activation == HEARTH_GELU_ERF) return y / 2.0 * std::erfc(-y / std::sqrt(2.0));
  return y;
}

// What the output should hold, gaps included, before any rounding of the result.
Floats expected_output(const HearthGemm& call, std::int64_t width) {
  const std::int64_t count = call.rows * call.output_stride - kGap;
  Floats output = read_numbers(call.output_type, call.output, count);
  const Floats bias = read_numbers(HEARTH_BF16, call.bias, call.weight.out_features);
  Floats weights;
  for (std::int64_t f = 0; f < call.weight.out_features; ++f)
    for (std::int64_t k = 0; k < call.weight.in_features; ++k)
      weights.push_back(weight_at(call.weight, f, k));
  for (std::int64_t r = 0; r < call.rows; ++r) {
    const std::vector<double> x = input_row(call, r);
    std::vector<double> y;
    for (std::int64_t f = 0; f < call.weight.out_features; ++f) {
      double sum = bias[static_cast<std::size_t>(f)];
      for (std::size_t k = 0; k < x.size(); ++k)
        sum += x[k] * double{weights[static_cast<std::size_t>(f) * x.size() + k]};
      y.push_back(activated(call.activation, sum));
    }
    for (std::int64_t i = 0; i < width; ++i) {
      const auto at = static_cast<std::size_t>(i);
      float& to = output[static_cast<std::size_t>(r * call.output_stride + i)];
      const double silu = y[2 * at % y.size()] / (1.0 + std::exp(-y[2 * at % y.size()]));
      if (call.epilogue == HEARTH_STORE) to = static_cast<float>(y[at]);
      if (call.epilogue == HEARTH_ADD) to = static_cast<float>(double{to} + y[at]);
      if (call.epilogue == HEARTH_SWIGLU) to = static_cast<float>(silu * y[2 * at + 1]);
    }
  }
  return output;
}

Floats output_of(const HearthGemm& call) {
  return read_numbers(call.output_type, call.output, call.rows * call.output_stride - kGap);
}

class Gemm : public testing::TestWithParam<Case> {};

TEST_P(Gemm, EqualsSumsInDoublePrecision) {
  HEARTH_SKIP_WITHOUT_AMX();
  const Case& c = GetParam();
  GuardedMemory memory;
  const HearthGemm call = make(memory, c);
  const Floats expected = expected_output(call, width_of(c));
  ASSERT_EQ(hearth_gemm_cpu(&call), HEARTH_OK);
  const Floats got = output_of(call);
  EXPECT_LT(relative_error(got, expected), c.tolerance) << "seed " << kSeed;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (static_cast<std::int64_t>(i) % call.output_stride < width_of(c)) continue;
    ASSERT_EQ(got[i], kUntouched) << "element " << i << " lies between the rows";
  }
}

constexpr HearthFormat kBf16 = HEARTH_FORMAT_BF16, kFp8 = HEARTH_FORMAT_FP8,
                       kInt8 = HEARTH_FORMAT_INT8, kInt4 = HEARTH_FORMAT_INT4;
constexpr HearthActivation kLinear = HEARTH_NO_ACTIVATION;
constexpr HearthNorm kPlain = HEARTH_NO_NORM;
// Sums in fp32 leave 1e-6; outputs in bf16, an input that its norm rounds to bf16, and weights of
// int4 each an error of about 2^-9. Untouched gaps, which are exact, only make errors smaller.
INSTANTIATE_TEST_SUITE_P(
    Cases, Gemm,
    testing::Values(
        Case{kBf16, HEARTH_F32, HEARTH_STORE, kLinear, kPlain, 1, 1, 1, 2e-6},
        Case{kBf16, HEARTH_F32, HEARTH_STORE, kLinear, kPlain, 17, 33, 16, 2e-6},
        Case{kBf16, HEARTH_F32, HEARTH_STORE, kLinear, kPlain, 64, 544, 300, 2e-6},
        Case{kBf16, HEARTH_F32, HEARTH_ADD, kLinear, kPlain, 33, 1101, 61, 2e-6},
        Case{kBf16, HEARTH_BF16, HEARTH_ADD, kLinear, HEARTH_LAYER_NORM, 48, 96, 49, 4e-3},
        Case{kBf16, HEARTH_BF16, HEARTH_SWIGLU, kLinear, HEARTH_RMS_NORM, 21, 200, 90, 5e-3},
        Case{kBf16, HEARTH_F32, HEARTH_SWIGLU, kLinear, kPlain, 35, 64, 66, 2e-6},
        Case{kBf16, HEARTH_F32, HEARTH_STORE, HEARTH_GELU_TANH, kPlain, 40, 72, 100, 2e-6},
        Case{kBf16, HEARTH_F32, HEARTH_ADD, HEARTH_GELU_ERF, kPlain, 40, 72, 100, 2e-6},
        Case{kBf16, HEARTH_BF16, HEARTH_STORE, HEARTH_GELU_TANH, HEARTH_LAYER_NORM, 530, 40, 34,
             5e-3},
        Case{kBf16, HEARTH_F32, HEARTH_STORE, kLinear, HEARTH_RMS_NORM, 1040, 31, 20, 4e-3},
        Case{kFp8, HEARTH_F32, HEARTH_STORE, kLinear, kPlain, 19, 77, 33, 2e-6},
        Case{kFp8, HEARTH_BF16, HEARTH_SWIGLU, kLinear, kPlain, 32, 600, 128, 4e-3},
        Case{kInt8, HEARTH_F32, HEARTH_STORE, kLinear, kPlain, 18, 100, 33, 2e-6},
        Case{kInt8, HEARTH_F32, HEARTH_ADD, kLinear, kPlain, 33, 1600, 40, 2e-6},
        Case{kInt8, HEARTH_BF16, HEARTH_SWIGLU, kLinear, HEARTH_RMS_NORM, 50, 128, 96, 6e-3},
        Case{kInt4, HEARTH_F32, HEARTH_STORE, kLinear, kPlain, 18, 100, 33, 3e-3},
        Case{kInt4, HEARTH_F32, HEARTH_ADD, kLinear, kPlain, 33, 1600, 40, 3e-3},
        Case{kInt4, HEARTH_BF16, HEARTH_SWIGLU, kLinear, kPlain, 520, 65, 64, 6e-3}));

class GemmRows : public testing::TestWithParam<HearthFormat> {};

TEST_P(GemmRows, HaveTheSameBitsInAnyCompanyOnAnyThreads) {
  HEARTH_SKIP_WITHOUT_AMX();
  GuardedMemory memory;
  const Case all{GetParam(), HEARTH_F32, HEARTH_STORE, kLinear, HEARTH_RMS_NORM,
                 600,        1101,       700,          0.0};
  HearthGemm call = make(memory, all);
  ASSERT_EQ(hearth_gemm_cpu(&call), HEARTH_OK);
  const Floats together = output_of(call);
  const int threads = cpu::team_threads();
  for (const int team : {1, 2, 5}) {
    cpu::set_team_threads(team);
    for (const auto& [first, rows] : {std::pair{0, 600}, {7, 1}, {590, 10}, {100, 333}}) {
      HearthGemm some = call;
      some.rows = rows;
      some.input = static_cast<const BFloat16*>(call.input) + first * call.input_stride;
      some.output = static_cast<float*>(call.output) + first * call.output_stride;
      ASSERT_EQ(hearth_gemm_cpu(&some), HEARTH_OK);
      ASSERT_EQ(output_of(call), together)
          << rows << " rows from " << first << " on, " << team << " threads, seed " << kSeed;
    }
  }
  cpu::set_team_threads(threads);
}
INSTANTIATE_TEST_SUITE_P(Formats, GemmRows, testing::Values(kBf16, kFp8, kInt8, kInt4));

// The product with a unit matrix is the activation alone.
TEST(Gemm, ActivationsAreExactToAMillionth) {
  HEARTH_SKIP_WITHOUT_AMX();
  constexpr std::int64_t kWidth = 32, kRows = 256;
  HostMemory memory;
  Floats unit(kWidth * kWidth, 0.0f), values;
  for (std::size_t i = 0; i < kWidth; ++i) unit[i * kWidth + i] = 1.0f;
  for (std::int64_t i = 0; i < kRows * kWidth; ++i)
    values.push_back(to_float(to_bfloat16(static_cast<float>(i - 4096) / 300.0f)));
  for (const auto activation : {HEARTH_GELU_TANH, HEARTH_GELU_ERF}) {
    HearthGemm call{};
    call.weight = {kBf16, kWidth, kWidth, memory.numbers(HEARTH_BF16, unit), nullptr};
    call.activation = activation;
    call.rows = kRows;
    call.input = memory.numbers(HEARTH_BF16, values);
    call.output = memory.allocate(values.size() * sizeof(float));
    call.input_stride = call.output_stride = kWidth;
    ASSERT_EQ(hearth_gemm_cpu(&call), HEARTH_OK);
    const Floats got = read_numbers(HEARTH_F32, call.output, kRows * kWidth);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double expected = activated(activation, values[i]);
      ASSERT_NEAR(got[i], expected, 1e-6 * std::max(1.0, std::abs(expected))) << values[i];
    }
  }
}

TEST(Gemm, ANumberThatIsNotFiniteStaysInItsRow) {
  HEARTH_SKIP_WITHOUT_AMX();
  HostMemory memory;
  const Case c{kBf16, HEARTH_F32, HEARTH_STORE, kLinear, kPlain, 20, 100, 40, 0.0};
  const HearthGemm call = make(memory, c);
  auto* input = const_cast<BFloat16*>(static_cast<const BFloat16*>(call.input));
  input[5 * call.input_stride + 70] = to_bfloat16(std::nanf(""));
  ASSERT_EQ(hearth_gemm_cpu(&call), HEARTH_OK);
  const Floats got = output_of(call);
  for (std::int64_t r = 0; r < c.rows; ++r)
    EXPECT_EQ(std::isfinite(got[static_cast<std::size_t>(r * call.output_stride)]), r != 5) << r;
}

TEST(Gemm, IsNotSupportedAtALowerLevel) {
  GuardedMemory memory;
  const HearthGemm call =
      make(memory, {kBf16, HEARTH_F32, HEARTH_STORE, kLinear, kPlain, 20, 64, 32, 0.0});
  const Implementation::Use lower(cpu::Level::generic);
  EXPECT_EQ(hearth_gemm_cpu_available(), 0);
  EXPECT_EQ(hearth_gemm_cpu(&call), HEARTH_UNSUPPORTED);
}

TEST(Gemm, RefusesWhatItCannotCompute) {
  GuardedMemory memory;
  const HearthGemm good =
      make(memory, {kInt8, HEARTH_BF16, HEARTH_STORE, kLinear, kPlain, 20, 64, 32, 0.0});
  const auto spoil = [&](HearthStatus status, auto change) {
    HearthGemm bad = good;
    change(bad);
    EXPECT_EQ(hearth_gemm_cpu(&bad), status);
  };
  EXPECT_EQ(hearth_gemm_cpu(nullptr), HEARTH_BAD_ARGUMENT);
  spoil(HEARTH_BAD_ARGUMENT, [](HearthGemm& g) { g.rows = 0; });
  spoil(HEARTH_BAD_ARGUMENT, [](HearthGemm& g) { g.input = nullptr; });
  spoil(HEARTH_BAD_ARGUMENT, [](HearthGemm& g) { g.output = nullptr; });
  spoil(HEARTH_BAD_ARGUMENT, [](HearthGemm& g) { g.weight.data = nullptr; });
  spoil(HEARTH_BAD_ARGUMENT, [](HearthGemm& g) { g.weight.scales = nullptr; });
  spoil(HEARTH_BAD_ARGUMENT, [](HearthGemm& g) { g.input_stride = 63; });
  spoil(HEARTH_BAD_ARGUMENT, [](HearthGemm& g) { g.output_stride = 31; });
  spoil(HEARTH_BAD_ARGUMENT, [](HearthGemm& g) {
    g.norm = HEARTH_RMS_NORM;
    g.norm_weight = nullptr;
  });
  spoil(HEARTH_BAD_ARGUMENT, [](HearthGemm& g) {
    g.norm = HEARTH_LAYER_NORM;
    g.norm_bias = nullptr;
  });
  spoil(HEARTH_BAD_ARGUMENT, [](HearthGemm& g) {
    g.epilogue = HEARTH_SWIGLU;
    g.activation = HEARTH_GELU_ERF;
  });
  spoil(HEARTH_BAD_ARGUMENT, [](HearthGemm& g) {
    g.epilogue = HEARTH_SWIGLU;
    g.weight.out_features = 31;
  });
  spoil(HEARTH_UNSUPPORTED, [](HearthGemm& g) { g.weight.format = HEARTH_FORMAT_F32; });
}

}  // namespace
}  // namespace hearth::kernels
