// What a step reads, against numbers computed by hand.

#include <gtest/gtest.h>

#include "models/decoder/traffic.h"
#include "tests/unit/decoder_for_test.h"

namespace hearth::decoder {
namespace {

// hidden 64, vocabulary 300, heads 4 and 2 of 16, MLP 96.
Shape two_layers() {
  Shape shape;
  shape.layers = 2;
  return shape;
}

constexpr std::uint64_t kNorms = 4 * (64 + 64 + 16 + 16);  // of a layer, always f32
// Numbers of a layer's linears: queries, keys and values (8 heads), output, gate and up, down.
constexpr std::uint64_t kAttention = 128 * 64 + 64 * 64;
constexpr std::uint64_t kMlp = 192 * 64 + 64 * 96;
constexpr std::uint64_t kHead = 300 * 64;

TEST(StepTraffic, OfAFloat32DecoderIsEveryWeightOnce) {
  const TinyDecoder tiny(two_layers(), HEARTH_F32, HEARTH_FORMAT_F32);
  const StepTraffic traffic = traffic_of(tiny.description, tiny.weights);
  const std::uint64_t row = 64;  // of the embedding
  EXPECT_EQ(traffic.weights_bytes,
            4 * row + 2 * (4 * (kAttention + kMlp) + kNorms) + 4 * 64 + 4 * kHead);
  EXPECT_EQ(traffic.token_bytes, 2U * 2 * 2 * 16 * 4) << "layers, keys and values, heads, channels";
  EXPECT_EQ(traffic.bytes(0), traffic.weights_bytes);
  EXPECT_EQ(traffic.bytes(10), traffic.weights_bytes + 10 * 512);
}

TEST(StepTraffic, OfBfloat16IsHalfButForTheNorms) {
  const TinyDecoder tiny(two_layers(), HEARTH_BF16, HEARTH_FORMAT_BF16);
  const StepTraffic traffic = traffic_of(tiny.description, tiny.weights);
  EXPECT_EQ(traffic.weights_bytes,
            2 * 64 + 2 * (2 * (kAttention + kMlp) + kNorms) + 4 * 64 + 2 * kHead);
  EXPECT_EQ(traffic.token_bytes, 256U);
}

TEST(StepTraffic, BiasesCount) {
  Shape shape = two_layers();
  const TinyDecoder plain(shape, HEARTH_BF16, HEARTH_FORMAT_BF16);
  shape.biased = true;
  const TinyDecoder biased(shape, HEARTH_BF16, HEARTH_FORMAT_BF16);
  EXPECT_EQ(traffic_of(biased.description, biased.weights).weights_bytes -
                traffic_of(plain.description, plain.weights).weights_bytes,
            2U * 128 * 2);
}

// A byte a weight and a float a feature; rows in tiles of 16, columns in groups of 64: 96 columns
// take 128, 300 rows 304.
TEST(StepTraffic, OfInt8CountsScalesAndPadding) {
  const TinyDecoder tiny(two_layers(), HEARTH_BF16, HEARTH_FORMAT_INT8);
  const StepTraffic traffic = traffic_of(tiny.description, tiny.weights);
  std::uint64_t expected = 2 * 64 + 4 * 64;
  for (const Linear* linear : {&tiny.weights.layers[0].qkv, &tiny.weights.layers[0].output,
                               &tiny.weights.layers[0].gate_up, &tiny.weights.layers[0].down}) {
    const std::uint64_t rows =
        static_cast<std::uint64_t>(linear->matrix.out_features + 15) / 16 * 16;
    const std::uint64_t columns =
        static_cast<std::uint64_t>(linear->matrix.in_features + 63) / 64 * 64;
    expected += 2 * (rows * columns + rows * 4);
  }
  expected += 2 * kNorms + 304 * 64 + 304 * 4;
  EXPECT_EQ(traffic.weights_bytes, expected);
}

// Of eight experts two: the others' weights stay where they are.
TEST(StepTraffic, OfExpertsCountsTheChosenOnes) {
  Shape shape = two_layers();
  shape.experts = 8;
  const TinyDecoder tiny(shape, HEARTH_F32, HEARTH_FORMAT_F32);
  const StepTraffic traffic = traffic_of(tiny.description, tiny.weights);
  const std::uint64_t dense = 4 * (kAttention + kMlp) + kNorms;
  const std::uint64_t router = 4 * 8 * 64;
  const std::uint64_t chosen = 2 * 4 * (2 * 24 * 64 + 64 * 24);
  // The norm before the MLP is read by the router's product and by the experts'.
  const std::uint64_t sparse = 4 * kAttention + kNorms + 4 * 64 + router + chosen;
  EXPECT_EQ(traffic.weights_bytes, 4 * 64 + dense + sparse + 4 * 64 + 4 * kHead);
}

}  // namespace
}  // namespace hearth::decoder
