// In which parts weights come back, and what each operation has to wait for.

#include <cstddef>
#include <memory>
#include <set>
#include <vector>

#include "models/decoder/evictable.h"
#include "models/decoder/plan.h"
#include "tests/unit/decoder_for_test.h"

namespace hearth::decoder {
namespace {

using Ends = std::vector<std::uint64_t>;

struct Parts : testing::Test {
  std::unique_ptr<DeviceMemory> memory = host_memory(*hearth_kernels_ref());
  DeviceBlock block = *memory->allocate(100);
  const std::byte* first = block.as<std::byte>();
};

TEST_F(Parts, EndBehindWholeThings) {
  EXPECT_EQ(FillParts(block, Ends{10, 30, 60, 100}, 25).ends(), (Ends{30, 60, 100}));
  EXPECT_EQ(FillParts(block, Ends{10, 30, 60}, 1).ends(), (Ends{10, 30, 60, 100}));
  EXPECT_EQ(FillParts(block, Ends{10, 30, 60}, 1000).ends(), Ends{100});
  EXPECT_EQ(FillParts(block, Ends{}, 1).ends(), Ends{100});
}

TEST_F(Parts, AnAddressWaitsForThePartThatHoldsItAndAllBefore) {
  const FillParts parts(block, Ends{10, 30, 60}, 1);
  EXPECT_EQ(parts.until(first), 1U);
  EXPECT_EQ(parts.until(first + 9), 1U);
  EXPECT_EQ(parts.until(first + 10), 2U);
  EXPECT_EQ(parts.until(first + 59), 3U);
  EXPECT_EQ(parts.until(first + 99), 4U);
}

TEST_F(Parts, WhatLiesElsewhereWaitsForNothing) {
  const FillParts parts(block, Ends{10, 30, 60}, 1);
  EXPECT_EQ(parts.until(first + 100), 0U);
  EXPECT_EQ(parts.until(first - 1), 0U);
  EXPECT_EQ(parts.until(nullptr), 0U);
  EXPECT_EQ(FillParts().until(first), 0U);
}

TEST(WeightsOf, NameEveryWeightOfALayerAndNoOther) {
  const TinyDecoder decoder({.biased = true}, HEARTH_F32, HEARTH_FORMAT_F32);
  std::set<const void*> named;
  for (const Op& op : build_plan(decoder.description, decoder.weights))
    for (const void* weight : weights_of(op, decoder.weights)) named.insert(weight);
  named.erase(nullptr);
  std::set<const void*> owned = {decoder.weights.embedding, decoder.weights.final_norm,
                                 decoder.weights.head.matrix.data};
  for (const LayerWeights& layer : decoder.weights.layers) {
    owned.insert({layer.attention_norm, layer.q_norm, layer.k_norm, layer.mlp_norm});
    for (const Linear* linear : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
      owned.insert(linear->matrix.data);
      if (linear->bias != nullptr) owned.insert(linear->bias);
    }
  }
  EXPECT_EQ(named, owned);
}

TEST(WeightsOf, WaitForTheLastOfALayersExperts) {
  const TinyDecoder decoder({.experts = 4}, HEARTH_F32, HEARTH_FORMAT_F32);
  std::set<const void*> named;
  for (const Op& op : build_plan(decoder.description, decoder.weights))
    for (const void* weight : weights_of(op, decoder.weights)) named.insert(weight);
  for (std::size_t i = 1; i < decoder.weights.layers.size(); ++i) {
    const Experts& experts = decoder.weights.layers[i].experts;
    EXPECT_TRUE(named.contains(experts.router.matrix.data));
    EXPECT_TRUE(named.contains(kernels::matrix_at(experts.gate_up, 3).data));
    EXPECT_TRUE(named.contains(kernels::matrix_at(experts.down, 3).data));
  }
}

}  // namespace
}  // namespace hearth::decoder
