// Weight formats: what rounding leaves of a number, where it lies, and the way back.

#include <algorithm>
#include <bit>
#include <cmath>
#include <thread>

#include "models/kernels/formats.h"
#include "models/kernels/pack.h"
#include "tests/unit/kernels_for_test.h"

namespace hearth::kernels {
namespace {

constexpr unsigned kSeed = 5;

HearthMatrix make(Memory& memory, HearthFormat format, std::int64_t out, std::int64_t in) {
  return {format, out, in, memory.allocate(hearth_matrix_bytes(format, out, in)),
          memory.allocate(hearth_scale_bytes(format, out, in))};
}

HearthStatus pack(const HearthMatrix& matrix, const Floats& weights, std::int64_t first = 0,
                  std::int64_t step = 1) {
  const auto rows = static_cast<std::int64_t>(weights.size()) / matrix.in_features;
  const HearthPack call{matrix, HEARTH_F32, weights.data(), rows, first, step};
  return hearth_pack(&call);
}

HearthMatrix packed(Memory& memory, HearthFormat format, std::int64_t out, std::int64_t in,
                    const Floats& weights) {
  const HearthMatrix matrix = make(memory, format, out, in);
  EXPECT_EQ(hearth_pack_begin(&matrix), HEARTH_OK);
  EXPECT_EQ(pack(matrix, weights), HEARTH_OK);
  return matrix;
}

Floats unpacked(const HearthKernels* table, const HearthMatrix& matrix, std::int64_t first = 0,
                std::int64_t count = -1) {
  Floats numbers(
      static_cast<std::size_t>((count < 0 ? matrix.out_features : count) * matrix.in_features));
  const HearthUnpack call{matrix, first, count < 0 ? matrix.out_features : count, HEARTH_F32,
                          numbers.data()};
  EXPECT_EQ(table->unpack(&call, nullptr), HEARTH_OK);
  return numbers;
}

TEST(SmallFloats, ComeBackFromEveryBitPattern) {
  for (int bits = 0; bits < 256; ++bits) {
    if ((bits & 0x7f) == 0x7f) continue;  // NaN
    EXPECT_EQ(to_e4m3(e4m3_to_float(static_cast<std::uint8_t>(bits))), bits);
  }
  for (int bits = 0; bits < 65536; ++bits) {
    if ((bits & 0x7c00) == 0x7c00 && (bits & 0x3ff) != 0) continue;
    ASSERT_EQ(to_f16(f16_to_float(static_cast<std::uint16_t>(bits))), bits);
  }
}

TEST(SmallFloats, RoundToTheNearestTiesToEven) {
  EXPECT_EQ(e4m3_to_float(to_e4m3(1.0625f)), 1.0f);   // half way to 1.125
  EXPECT_EQ(e4m3_to_float(to_e4m3(1.1875f)), 1.25f);  // half way from 1.125
  EXPECT_EQ(e4m3_to_float(to_e4m3(1e9f)), 448.0f);
  EXPECT_EQ(e4m3_to_float(to_e4m3(0x1p-10f)), 0.0f);  // half of the smallest number
  EXPECT_EQ(e4m3_to_float(to_e4m3(0x1.8p-9f)), 0x1p-8f);
  EXPECT_EQ(f16_to_float(to_f16(65519.0f)), 65504.0f);
  EXPECT_TRUE(std::isinf(f16_to_float(to_f16(65520.0f))));
  EXPECT_EQ(to_bfloat16(1.00390625f).bits, 0x3f80);
  EXPECT_EQ(to_bfloat16(1.01171875f).bits, 0x3f82);
  EXPECT_TRUE(std::isnan(to_float(to_bfloat16(std::nanf("")))));
}

TEST(MatrixBytes, CountThePadding) {
  EXPECT_EQ(hearth_matrix_bytes(HEARTH_FORMAT_F32, 17, 65), 17u * 65 * 4);
  EXPECT_EQ(hearth_matrix_bytes(HEARTH_FORMAT_BF16, 17, 65), 17u * 65 * 2);
  EXPECT_EQ(hearth_matrix_bytes(HEARTH_FORMAT_FP8, 17, 65), 17u * 65);
  EXPECT_EQ(hearth_matrix_bytes(HEARTH_FORMAT_INT8, 17, 65), 32u * 128);
  EXPECT_EQ(hearth_matrix_bytes(HEARTH_FORMAT_INT4, 17, 65), 32u * 64);
  EXPECT_EQ(hearth_scale_bytes(HEARTH_FORMAT_BF16, 17, 65), 0u);
  EXPECT_EQ(hearth_scale_bytes(HEARTH_FORMAT_FP8, 17, 65), 17u * 4);
  EXPECT_EQ(hearth_scale_bytes(HEARTH_FORMAT_INT8, 17, 65), 32u * 4);
  EXPECT_EQ(hearth_scale_bytes(HEARTH_FORMAT_INT4, 17, 65), 2u * 2 * 16 * 2);
}

struct Case {
  HearthFormat format;
  double tolerance;  // relative_error() of normal weights after rounding
};

// Formats and levels: what is written is the same at each.
class Pack : public testing::TestWithParam<Case> {};

TEST_P(Pack, LeavesOnlyTheFormatsError) {
  constexpr std::int64_t kOut = 37, kIn = 645;
  const Floats weights = normal_numbers(kOut * kIn, kSeed, 0.02f);
  HostMemory memory;
  for (const Implementation& implementation : cpu_implementations()) {
    const auto use = implementation.use();
    const HearthMatrix m = packed(memory, GetParam().format, kOut, kIn, weights);
    EXPECT_LE(relative_error(unpacked(hearth_kernels_ref(), m), weights), GetParam().tolerance)
        << implementation << ", seed " << kSeed;
  }
}

TEST_P(Pack, ComesBackTheSameFromEveryTable) {
  constexpr std::int64_t kOut = 35, kIn = 131;
  HostMemory memory;
  const HearthMatrix m =
      packed(memory, GetParam().format, kOut, kIn, normal_numbers(kOut * kIn, kSeed));
  const Floats expected = unpacked(hearth_kernels_ref(), m);
  for (const Implementation& implementation : cpu_implementations()) {
    const auto use = implementation.use();
    EXPECT_EQ(unpacked(implementation.table, m), expected) << implementation;
    EXPECT_EQ(unpacked(implementation.table, m, 3, 19),
              Floats(expected.begin() + 3 * kIn, expected.begin() + 22 * kIn))
        << implementation;
    std::vector<BFloat16> halves(kOut * kIn);
    const HearthUnpack call{m, 0, kOut, HEARTH_BF16, halves.data()};
    ASSERT_EQ(implementation.table->unpack(&call, nullptr), HEARTH_OK);
    for (std::size_t i = 0; i < halves.size(); ++i)
      ASSERT_EQ(halves[i].bits, to_bfloat16(expected[i]).bits) << implementation << ", " << i;
  }
}

TEST_P(Pack, InterleavesRowsOfTwoSources) {
  constexpr std::int64_t kHalf = 21, kIn = 70;
  const Floats gate = normal_numbers(kHalf * kIn, kSeed),
               up = normal_numbers(kHalf * kIn, kSeed + 1);
  HostMemory memory;
  const HearthMatrix m = make(memory, GetParam().format, 2 * kHalf, kIn);
  ASSERT_EQ(hearth_pack_begin(&m), HEARTH_OK);
  // At once, as a loader does.
  std::thread other([&] { EXPECT_EQ(pack(m, up, 1, 2), HEARTH_OK); });
  EXPECT_EQ(pack(m, gate, 0, 2), HEARTH_OK);
  other.join();
  const Floats both = unpacked(hearth_kernels_ref(), m);
  const Floats gate_alone =
      unpacked(hearth_kernels_ref(), packed(memory, GetParam().format, kHalf, kIn, gate));
  const Floats up_alone =
      unpacked(hearth_kernels_ref(), packed(memory, GetParam().format, kHalf, kIn, up));
  for (std::int64_t i = 0; i < kHalf; ++i)
    for (std::int64_t k = 0; k < kIn; ++k) {
      const auto from = static_cast<std::size_t>(i * kIn + k);
      ASSERT_EQ(both[static_cast<std::size_t>(2 * i * kIn + k)], gate_alone[from]);
      ASSERT_EQ(both[static_cast<std::size_t>((2 * i + 1) * kIn + k)], up_alone[from]);
    }
}

TEST_P(Pack, TakesBf16AsItsNumbers) {
  constexpr std::int64_t kOut = 18, kIn = 129;
  Floats weights = normal_numbers(kOut * kIn, kSeed);
  std::vector<BFloat16> halves;
  for (float& weight : weights) {
    halves.push_back(to_bfloat16(weight));
    weight = to_float(halves.back());
  }
  HostMemory memory;
  const HearthMatrix m = make(memory, GetParam().format, kOut, kIn);
  const HearthPack call{m, HEARTH_BF16, halves.data(), kOut, 0, 1};
  ASSERT_EQ(hearth_pack_begin(&m), HEARTH_OK);
  ASSERT_EQ(hearth_pack(&call), HEARTH_OK);
  EXPECT_EQ(unpacked(hearth_kernels_ref(), m),
            unpacked(hearth_kernels_ref(), packed(memory, GetParam().format, kOut, kIn, weights)));
}

TEST_P(Pack, KeepsZerosZero) {
  HostMemory memory;
  const Floats zeros(20 * 100, 0.0f);
  const HearthMatrix m = packed(memory, GetParam().format, 20, 100, zeros);
  EXPECT_EQ(unpacked(hearth_kernels_ref(), m), zeros);
}

TEST_P(Pack, RefusesWhatDoesNotFit) {
  HostMemory memory;
  const HearthMatrix m = make(memory, GetParam().format, 8, 64);
  EXPECT_EQ(hearth_pack_begin(nullptr), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(hearth_pack(nullptr), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(pack(m, Floats(9 * 64)), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(pack(m, Floats(64), 8), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(pack(m, Floats(64), -1), HEARTH_BAD_ARGUMENT);
  EXPECT_EQ(pack(m, Floats(4 * 64), 1, 3), HEARTH_BAD_ARGUMENT);
  Floats numbers(9 * 64);
  for (const HearthKernels* table : {hearth_kernels_ref(), hearth_kernels_cpu()}) {
    const HearthUnpack beyond{m, 1, 8, HEARTH_F32, numbers.data()};
    EXPECT_EQ(table->unpack(&beyond, nullptr), HEARTH_BAD_ARGUMENT);
    EXPECT_EQ(table->unpack(nullptr, nullptr), HEARTH_BAD_ARGUMENT);
  }
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  constexpr const char* kNames[] = {"f32", "bf16", "fp8", "int8", "int4"};
  return kNames[info.param.format];
}

// s4 with the largest of 64 at the last level leaves 0.103 of normal weights, the search 0.096.
INSTANTIATE_TEST_SUITE_P(Formats, Pack,
                         testing::Values(Case{HEARTH_FORMAT_F32, 0.0},
                                         Case{HEARTH_FORMAT_BF16, 0.002},
                                         Case{HEARTH_FORMAT_FP8, 0.027},
                                         Case{HEARTH_FORMAT_INT8, 0.009},
                                         Case{HEARTH_FORMAT_INT4, 0.098}),
                         case_name);

TEST(PackQuantised, RefusesAWeightThatIsNotFinite) {
  HostMemory memory;
  for (const HearthFormat format : {HEARTH_FORMAT_FP8, HEARTH_FORMAT_INT8, HEARTH_FORMAT_INT4})
    for (const float poison : {std::nanf(""), -INFINITY}) {
      Floats weights = normal_numbers(4 * 100, kSeed);
      weights[250] = poison;
      const HearthMatrix m = make(memory, format, 4, 100);
      ASSERT_EQ(hearth_pack_begin(&m), HEARTH_OK);
      EXPECT_EQ(pack(m, weights), HEARTH_BAD_ARGUMENT) << format << ", " << poison;
    }
}

TEST(PackTiled, PadsWithTheLevelOfZero) {
  HostMemory memory;
  constexpr std::int64_t kOut = 18, kIn = 70;
  for (const HearthFormat format : {HEARTH_FORMAT_INT8, HEARTH_FORMAT_INT4}) {
    HearthMatrix m = packed(memory, format, kOut, kIn, normal_numbers(kOut * kIn, kSeed));
    m.out_features = 32;
    m.in_features = 128;  // the same tiles, read as if all of them were real
    const Floats all = unpacked(hearth_kernels_ref(), m);
    for (std::int64_t f = 0; f < 32; ++f)
      for (std::int64_t k = 0; k < 128; ++k)
        if (f >= kOut || k >= kIn) {
          ASSERT_EQ(all[static_cast<std::size_t>(f * 128 + k)], 0.0f)
              << format << ", feature " << f << ", input " << k;
        }
  }
}

double squared_error(const Floats& weights, const Int4Group& group) {
  double sum = 0.0;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const double off = weights[k] - double{f16_to_float(group.scale)} * (group.levels[k] - 8.0);
    sum += off * off;
  }
  return sum;
}

TEST(Int4Search, IsNoWorseThanTheLargestWeightAtTheLastLevel) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    Floats weights = normal_numbers(kGroup, seed, 0.03f);
    if (seed % 3 == 0) weights[seed % kGroup] *= 6.0f;  // an outlier
    const float largest =
        std::fabs(*std::max_element(weights.begin(), weights.end(),
                                    [](float a, float b) { return std::fabs(a) < std::fabs(b); }));
    Int4Group plain{to_f16(largest / 7.0f), {}};
    for (std::size_t k = 0; k < weights.size(); ++k)
      plain.levels[k] = static_cast<std::uint8_t>(
          std::clamp(std::nearbyint(weights[k] / f16_to_float(plain.scale)), -8.0f, 7.0f) + 8.0f);
    EXPECT_LE(squared_error(weights, round_to_int4(weights.data())),
              squared_error(weights, plain) * 1.0001)
        << "seed " << seed;
  }
}

TEST(Int4Search, FindsWeightsThatLieOnLevels) {
  Floats weights(kGroup);
  for (std::size_t k = 0; k < weights.size(); ++k)
    weights[k] = 0.25f * static_cast<float>(static_cast<int>(k % 16) - 8);
  EXPECT_EQ(squared_error(weights, round_to_int4(weights.data())), 0.0);
}

}  // namespace
}  // namespace hearth::kernels
