// A decoder as data: descriptions that fit, the plan made of one, rotary frequencies.
#include <algorithm>
#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include "models/decoder/description.h"
#include "models/decoder/plan.h"
#include "models/decoder/rope.h"

namespace hearth::decoder {
namespace {

Description small(std::int32_t layers, std::int32_t deepstack_layers) {
  Description description;
  description.hidden_size = 64;
  description.vocabulary_size = 100;
  description.deepstack_layers = deepstack_layers;
  description.rope.sections = {4, 2, 2};
  LayerDescription layer;
  layer.heads = 4;
  layer.kv_heads = 2;
  layer.head_dim = 16;
  layer.intermediate_size = 96;
  description.layers.assign(static_cast<std::size_t>(layers), layer);
  return description;
}

std::size_t count(const std::vector<Op>& plan, OpKind kind) {
  return static_cast<std::size_t>(
      std::count_if(plan.begin(), plan.end(), [&](const Op& op) { return op.kind == kind; }));
}

TEST(Description, NumbersThatDoNotFitAreRefused) {
  EXPECT_TRUE(check(small(2, 1)));
  const auto refused = [](auto change) {
    Description description = small(2, 1);
    change(description);
    const auto checked = check(description);
    return !checked && checked.error().code == Code::kBadModel;
  };
  EXPECT_TRUE(refused([](Description& d) { d.layers.clear(); }));
  EXPECT_TRUE(refused([](Description& d) { d.deepstack_layers = 3; }));
  EXPECT_TRUE(refused([](Description& d) { d.rope.sections = {4, 2, 1}; }));
  EXPECT_TRUE(refused([](Description& d) { d.rope.theta = 0.0; }));
  EXPECT_TRUE(refused([](Description& d) { d.layers[1].heads = 8; }));
  EXPECT_TRUE(refused([](Description& d) {
    for (auto& layer : d.layers) layer.kv_heads = 3;
  }));
  EXPECT_TRUE(refused([](Description& d) {
    for (auto& layer : d.layers) layer.head_dim = 15;
  }));
}

Description with_experts() {
  Description description = small(3, 0);
  for (const std::size_t i : {0U, 2U}) {
    LayerDescription& layer = description.layers[i];
    layer.mlp = MlpKind::kExperts;
    layer.experts.count = 8;
    layer.experts.chosen = 2;
    layer.experts.intermediate_size = 80;
    layer.experts.files = ExpertFiles::kFused;
    layer.intermediate_size = 0;
  }
  return description;
}

TEST(Description, ExpertsAreChosenAmongThoseThereAre) {
  EXPECT_TRUE(check(with_experts()));
  const auto refusal = [](auto change) {
    Description description = with_experts();
    change(description.layers[2].experts);
    const auto checked = check(description);
    return checked ? Code::kInternal : checked.error().code;
  };
  EXPECT_EQ(refusal([](ExpertsDescription& e) { e.chosen = 9; }), Code::kBadModel);
  EXPECT_EQ(refusal([](ExpertsDescription& e) { e.chosen = 0; }), Code::kBadModel);
  EXPECT_EQ(refusal([](ExpertsDescription& e) { e.intermediate_size = 0; }), Code::kBadModel);
  EXPECT_EQ(refusal([](ExpertsDescription& e) { e.files = ExpertFiles::kSeparate; }),
            Code::kBadModel);
  EXPECT_EQ(refusal([](ExpertsDescription& e) { e.count = HEARTH_MAX_EXPERTS + 1; }),
            Code::kUnsupported);
}

TEST(Description, BuffersHoldTheWidestLayer) {
  const Description description = with_experts();
  EXPECT_EQ(width_of(Buffer::kActivated, description), 2 * 80);
  EXPECT_EQ(width_of(Buffer::kRouted, description), 8);
  EXPECT_EQ(width_of(Buffer::kChosen, description), 2);
  EXPECT_EQ(width_of(Buffer::kExperts, description), 2 * 64);
  EXPECT_EQ(width_of(Buffer::kActivated, small(2, 0)), 96);
  EXPECT_EQ(width_of(Buffer::kExperts, small(2, 0)), 0);
}

TEST(Description, CacheBytesAreThoseOfKeysAndValues) {
  // 3 layers of 2 heads of 16 channels, twice, in two bytes.
  EXPECT_EQ(kv_bytes_per_token(small(3, 0), 2), 3U * 2 * 16 * 2 * 2);
}

TEST(Plan, ALayerIsSixOperationsBetweenTaps) {
  Weights weights;
  weights.layers.resize(4);
  const auto plan = build_plan(small(4, 0), weights);
  EXPECT_EQ(count(plan, OpKind::kNormLinear), 4U * 2);
  EXPECT_EQ(count(plan, OpKind::kLinearAdd), 4U * 2);
  EXPECT_EQ(count(plan, OpKind::kRopeWrite), 4U);
  EXPECT_EQ(count(plan, OpKind::kAttention), 4U);
  EXPECT_EQ(plan.size(), 1U + 4 * 6 + 5 + 1);  // and the embedding, the taps, the head
  EXPECT_EQ(plan.back().kind, OpKind::kHead);
}

TEST(Plan, ALayerWithExpertsRoutesThenComputesThenSums) {
  Weights weights;
  weights.layers.resize(3);
  weights.layers[0].experts.chosen = weights.layers[2].experts.chosen = 2;
  const auto plan = build_plan(with_experts(), weights);
  EXPECT_EQ(count(plan, OpKind::kRoute), 2U);
  EXPECT_EQ(count(plan, OpKind::kExpertLinear), 4U);
  EXPECT_EQ(count(plan, OpKind::kCombine), 2U);
  const auto route = std::find_if(plan.begin(), plan.end(),
                                  [](const Op& op) { return op.kind == OpKind::kRoute; });
  EXPECT_EQ((route - 1)->kind, OpKind::kNormLinear);
  EXPECT_EQ((route - 1)->out, Buffer::kRouted);
  EXPECT_TRUE((route + 1)->swiglu);
  EXPECT_EQ((route + 2)->in, Buffer::kActivated);
  EXPECT_EQ((route + 3)->out, Buffer::kHidden);
}

TEST(Plan, DeepstackFeaturesFollowTheTapOfTheirLayer) {
  for (const std::int32_t levels : {1, 2, 4}) {
    Weights weights;
    weights.layers.resize(4);
    const auto plan = build_plan(small(4, levels), weights);
    ASSERT_EQ(count(plan, OpKind::kAddDeepstack), static_cast<std::size_t>(levels));
    std::int32_t level = 0;
    for (std::size_t i = 0; i < plan.size(); ++i) {
      if (plan[i].kind != OpKind::kAddDeepstack) continue;
      EXPECT_EQ(plan[i].index, level++);
      // transformers records what a layer leaves before the features are added.
      if (level < 4) {
        EXPECT_EQ(plan[i - 1].kind, OpKind::kTap);
        EXPECT_EQ(plan[i - 1].index, level);
        EXPECT_EQ(plan[i + 1].kind, OpKind::kNormLinear);
      } else {
        EXPECT_EQ(plan[i - 1].kind, OpKind::kLinearAdd);
      }
    }
  }
}

TEST(Plan, EveryHiddenStateIsTappedOnceInOrder) {
  for (const std::int32_t deepstack_layers : {0, 1, 3, 4}) {
    const std::vector<float> final_norm(64, 1.0F);
    Weights weights;
    weights.layers.resize(4);
    weights.final_norm = final_norm.data();
    const auto plan = build_plan(small(4, deepstack_layers), weights);
    std::vector<std::int32_t> states;
    for (const Op& op : plan) {
      if (op.kind != OpKind::kTap) continue;
      states.push_back(op.index);
      EXPECT_EQ(op.norm, op.index == 4 ? weights.final_norm : nullptr);
    }
    EXPECT_EQ(states, (std::vector<std::int32_t>{0, 1, 2, 3, 4})) << deepstack_layers;
  }
}

TEST(Plan, EveryLayerWritesItsOwnCacheOnce) {
  Weights weights;
  weights.layers.resize(3);
  std::multiset<std::int32_t> layers;
  for (const Op& op : build_plan(small(3, 1), weights))
    if (op.kind == OpKind::kRopeWrite) layers.insert(op.index);
  EXPECT_EQ(layers, (std::multiset<std::int32_t>{0, 1, 2}));
}

Description with_rope(std::int32_t head_dim, const Rope& rope) {
  Description description = small(1, 0);
  description.layers[0].head_dim = head_dim;
  description.rope = rope;
  return description;
}

std::string axes(const Rope& rope, std::int32_t head_dim) {
  std::string letters;
  for (const std::uint8_t axis : RopeTable(with_rope(head_dim, rope)).axes) letters += "thw"[axis];
  return letters;
}

TEST(Rope, InterleavedSectionsTakeTurnsUntilTheyAreSpent) {
  EXPECT_EQ(axes({10'000.0, 0, {4, 2, 2}, true}, 16), "thwthwtt");
  EXPECT_EQ(axes({10'000.0, 0, {2, 3, 3}, true}, 16), "thwthwth");
}

TEST(Rope, ContiguousSectionsFollowEachOther) {
  EXPECT_EQ(axes({10'000.0, 0, {4, 2, 2}, false}, 16), "tttthhww");
}

TEST(Rope, WithoutSectionsOneAxisTurnsAll) {
  EXPECT_EQ(axes({10'000.0, 0, {0, 0, 0}, true}, 16), "tttttttt");
}

TEST(Rope, FrequenciesArePowersOfTheta) {
  const RopeTable table(with_rope(8, {10'000.0, 0, {0, 0, 0}, true}));
  ASSERT_EQ(table.frequencies.size(), 4U);
  for (int i = 0; i < 4; ++i)
    EXPECT_FLOAT_EQ(table.frequencies[static_cast<std::size_t>(i)],
                    static_cast<float>(std::pow(10'000.0, -2.0 * i / 8.0)));
}

TEST(Rope, WhatIsNotRotatedHasNoFrequency) {
  const RopeTable table(with_rope(16, {10'000.0, 8, {2, 1, 1}, true}));
  ASSERT_EQ(table.frequencies.size(), 8U);
  for (int i = 0; i < 8; ++i)
    EXPECT_FLOAT_EQ(table.frequencies[static_cast<std::size_t>(i)],
                    i < 4 ? static_cast<float>(std::pow(10'000.0, -2.0 * i / 8.0)) : 0.0F);
  EXPECT_EQ(axes({10'000.0, 8, {2, 1, 1}, true}, 16), "thwttttt");
}

}  // namespace
}  // namespace hearth::decoder
