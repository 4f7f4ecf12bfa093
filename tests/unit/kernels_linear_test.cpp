// Every implementation of the linear against the plain one, over types, rows and odd sizes.

#include <cmath>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "models/kernels/bfloat16.h"
#include "models/kernels/cpu/dot.h"
#include "models/kernels/kernels.h"

namespace hearth::kernels {
namespace {

struct Case {
  HearthType type;
  std::int64_t rows, in_features, out_features;
  bool bias;
  double tolerance;  // largest |difference| / sum of |products|
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << (c.type == HEARTH_F32 ? "f32" : "bf16") << " rows " << c.rows << " in "
             << c.in_features << " out " << c.out_features << (c.bias ? " bias" : "");
}

// Random tensors of a case, strides wider than the rows.
template <class T>
struct Tensors {
  static constexpr std::int64_t kGap = 5;
  std::vector<T> weight, bias, input, output;
  HearthLinear linear{};

  explicit Tensors(const Case& c, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<T>& v, std::int64_t n) {
      v.resize(static_cast<std::size_t>(n));
      for (T& x : v) store(&x, normal(random));
    };
    fill(weight, c.out_features * c.in_features);
    fill(bias, c.out_features);
    fill(input, c.rows * (c.in_features + kGap));
    output.resize(static_cast<std::size_t>(c.rows * (c.out_features + kGap)));
    linear = {c.type,
              weight.data(),
              c.bias ? bias.data() : nullptr,
              input.data(),
              output.data(),
              c.rows,
              c.in_features,
              c.out_features,
              c.in_features + kGap,
              c.out_features + kGap};
  }
};

class LinearCpu : public testing::TestWithParam<Case> {};

template <class T>
void compare(const Case& c) {
  constexpr unsigned kSeed = 7;
  Tensors<T> reference(c, kSeed), tested(c, kSeed);
  ASSERT_EQ(hearth_linear_ref(&reference.linear, nullptr), HEARTH_OK);
  ASSERT_EQ(hearth_linear_cpu(&tested.linear, nullptr), HEARTH_OK);
  const double scale = std::sqrt(static_cast<double>(c.in_features)) + 1.0;
  for (std::size_t i = 0; i < reference.output.size(); ++i)
    ASSERT_NEAR(to_float(tested.output[i]), to_float(reference.output[i]), c.tolerance * scale)
        << "seed " << kSeed << ", element " << i;
}

TEST_P(LinearCpu, EqualsThePlainLoops) {
  if (GetParam().type == HEARTH_F32) {
    compare<float>(GetParam());
  } else {
    compare<BFloat16>(GetParam());
  }
}

// bf16 outputs are rounded once, so they may differ by one step of the largest value, 2^-8.
INSTANTIATE_TEST_SUITE_P(Shapes, LinearCpu,
                         testing::Values(Case{HEARTH_F32, 1, 160, 192, false, 1e-6},
                                         Case{HEARTH_F32, 3, 33, 7, true, 1e-6},
                                         Case{HEARTH_F32, 16, 1, 1, true, 1e-6},
                                         Case{HEARTH_F32, 1, 2048, 1027, false, 1e-6},
                                         Case{HEARTH_BF16, 1, 160, 192, false, 2e-2},
                                         Case{HEARTH_BF16, 4, 31, 9, true, 2e-2},
                                         Case{HEARTH_BF16, 16, 416, 160, true, 2e-2},
                                         Case{HEARTH_BF16, 1, 2048, 1027, false, 2e-2}));

template <class T>
void compare_level(const Dots<T>* dots, const std::string& level, double tolerance) {
  if (dots == nullptr) GTEST_SKIP() << "this machine has no " << level;
  constexpr unsigned kSeed = 11;
  Tensors<T> tensors({HEARTH_F32, 1, 1003, kDotRows, false, 0}, kSeed);
  float sums[kDotRows], single;
  dots->many(tensors.weight.data(), 1003, tensors.input.data(), 1003, sums);
  for (int k = 0; k < kDotRows; ++k) {
    double expected = 0.0;
    for (int i = 0; i < 1003; ++i)
      expected += double{to_float(tensors.input[i])} * to_float(tensors.weight[k * 1003 + i]);
    dots->one(tensors.weight.data() + k * 1003, 1003, tensors.input.data(), 1003, &single);
    EXPECT_NEAR(sums[k], expected, tolerance) << "row " << k << ", seed " << kSeed;
    EXPECT_NEAR(single, expected, tolerance) << "row " << k << ", seed " << kSeed;
  }
}

class DotLevel : public testing::TestWithParam<const char*> {};

TEST_P(DotLevel, SumsFloats) {
  compare_level(float_dots(GetParam()), GetParam(), 1e-4);
}
TEST_P(DotLevel, SumsBFloat16) {
  compare_level(bfloat16_dots(GetParam()), GetParam(), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Cpu, DotLevel, testing::Values("generic", "avx2", "avx512", "avx512bf16"));

TEST(BFloat16, RoundsToNearestEven) {
  EXPECT_EQ(to_bfloat16(1.0f).bits, 0x3f80);
  EXPECT_EQ(to_bfloat16(1.00390625f).bits, 0x3f80);  // half way, down to even
  EXPECT_EQ(to_bfloat16(1.01171875f).bits, 0x3f82);  // half way, up to even
  EXPECT_EQ(to_bfloat16(3.4e38f).bits, 0x7f80);      // overflows to infinity
  EXPECT_TRUE(std::isnan(to_float(to_bfloat16(std::nanf("")))));
}

TEST(Linear, RefusesWhatItCannotCompute) {
  Tensors<float> tensors({HEARTH_F32, 2, 4, 4, false, 0}, 1);
  HearthLinear bad = tensors.linear;
  bad.rows = HEARTH_MAX_ROWS + 1;
  EXPECT_EQ(hearth_linear_cpu(&bad, nullptr), HEARTH_BAD_ARGUMENT);
  bad = tensors.linear;
  bad.weight = nullptr;
  EXPECT_EQ(hearth_linear_ref(&bad, nullptr), HEARTH_BAD_ARGUMENT);
  bad = tensors.linear;
  bad.input_stride = 3;
  EXPECT_EQ(hearth_linear_cpu(&bad, nullptr), HEARTH_BAD_ARGUMENT);
}

TEST(LinearCuda, SaysSoWhereThereIsNoGpu) {
  Tensors<float> tensors({HEARTH_F32, 1, 4, 4, false, 0}, 1);
  const HearthStatus status = hearth_linear_cuda(&tensors.linear, nullptr);
  if (status != HEARTH_NO_DEVICE) GTEST_SKIP() << "a GPU is here: tests/gpu compares the kernels";
  EXPECT_EQ(status, HEARTH_NO_DEVICE);
}

}  // namespace
}  // namespace hearth::kernels
