// A decoder as data: descriptions that fit, the plan made of one, rotary angles.
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

TEST(Description, CacheBytesAreThoseOfKeysAndValues) {
  // 3 layers of 2 heads of 16 channels, twice, in two bytes.
  EXPECT_EQ(kv_bytes_per_token(small(3, 0), 2), 3U * 2 * 16 * 2 * 2);
}

TEST(Plan, ResidualAdditionsMeltIntoTheNormsThatFollow) {
  const Description description = small(4, 0);
  Weights weights;
  weights.layers.resize(4);
  const auto plan = build_plan(description, weights);
  // Every layer adds its attention, three of them the MLP before; the last MLP is added alone.
  EXPECT_EQ(count(plan, OpKind::kAddRmsNorm), 4U + 3U);
  EXPECT_EQ(count(plan, OpKind::kAdd), 1U);
  EXPECT_EQ(count(plan, OpKind::kRmsNorm), 2U);
  EXPECT_EQ(count(plan, OpKind::kLinear), 4U * 4 + 1);
}

TEST(Plan, DeepstackFeaturesFollowTheirWholeLayer) {
  const Description description = small(4, 2);
  Weights weights;
  weights.layers.resize(4);
  const auto plan = build_plan(description, weights);
  ASSERT_EQ(count(plan, OpKind::kAddDeepstack), 2U);
  std::int32_t level = 0;
  for (std::size_t i = 0; i < plan.size(); ++i) {
    if (plan[i].kind != OpKind::kAddDeepstack) continue;
    EXPECT_EQ(plan[i].level, level++);
    EXPECT_EQ(plan[i - 1].kind, OpKind::kTap);  // transformers records what is there before
    EXPECT_EQ(plan[i - 2].kind, OpKind::kAdd);
    EXPECT_EQ(plan[i + 1].kind, OpKind::kRmsNorm);
  }
}

TEST(Plan, EveryHiddenStateIsTappedOnceInOrder) {
  for (const std::int32_t deepstack_layers : {0, 1, 3, 4}) {
    Weights weights;
    weights.layers.resize(4);
    const auto plan = build_plan(small(4, deepstack_layers), weights);
    std::vector<std::int32_t> states;
    for (const Op& op : plan)
      if (op.kind == OpKind::kTap) states.push_back(op.state);
    EXPECT_EQ(states, (std::vector<std::int32_t>{0, 1, 2, 3, 4})) << deepstack_layers;
    // Only the last one is normalised, and a run without logits comes past it.
    EXPECT_EQ(std::count_if(plan.begin(), plan.end(),
                            [&](const Op& op) {
                              return op.kind == OpKind::kTap && op.weight == &weights.final_norm;
                            }),
              1);
    const auto choose = std::find_if(plan.begin(), plan.end(),
                                     [](const Op& op) { return op.kind == OpKind::kChooseRows; });
    ASSERT_NE(choose, plan.end());
    EXPECT_EQ((choose - 1)->state, 4);
  }
}

TEST(Plan, EveryLayerWritesItsOwnCacheOnce) {
  const Description description = small(3, 1);
  Weights weights;
  weights.layers.resize(3);
  std::multiset<std::int32_t> layers;
  for (const Op& op : build_plan(description, weights))
    if (op.kind == OpKind::kQkNormRopeWrite) layers.insert(op.layer);
  EXPECT_EQ(layers, (std::multiset<std::int32_t>{0, 1, 2}));
}

// Which axis turns each channel, seen by moving along one axis only.
std::string axes(const Rope& rope, std::int32_t head_dim) {
  const RopeTable table(rope, head_dim);
  const auto half = static_cast<std::size_t>(head_dim / 2);
  std::string seen(half, '?');
  for (std::size_t axis = 0; axis < 3; ++axis) {
    std::vector<std::int32_t> positions(3, 0);
    positions[axis] = 1;
    std::vector<float> cosines(half), sines(half);
    table.fill(positions, cosines, sines);
    for (std::size_t i = 0; i < half; ++i)
      if (sines[i] != 0.0F) seen[i] = "thw"[axis];
  }
  return seen;
}

TEST(Rope, InterleavedSectionsTakeTurnsUntilTheyAreSpent) {
  EXPECT_EQ(axes({10'000.0, {4, 2, 2}, true}, 16), "thwthwtt");
  EXPECT_EQ(axes({10'000.0, {2, 3, 3}, true}, 16), "thwthwth");
}

TEST(Rope, ContiguousSectionsFollowEachOther) {
  EXPECT_EQ(axes({10'000.0, {4, 2, 2}, false}, 16), "tttthhww");
}

TEST(Rope, WithoutSectionsOneAxisTurnsAll) {
  EXPECT_EQ(axes({10'000.0, {0, 0, 0}, true}, 16), "tttttttt");
}

TEST(Rope, AnglesAreThePositionTimesThetaToAPower) {
  const RopeTable table({10'000.0, {0, 0, 0}, true}, 8);
  std::vector<float> cosines(4), sines(4);
  table.fill(std::vector<std::int32_t>{5, 5, 5}, cosines, sines);
  for (int i = 0; i < 4; ++i) {
    const double angle = 5.0 * std::pow(10'000.0, -2.0 * i / 8.0);
    EXPECT_NEAR(cosines[static_cast<std::size_t>(i)], std::cos(angle), 1e-6);
    EXPECT_NEAR(sines[static_cast<std::size_t>(i)], std::sin(angle), 1e-6);
  }
}

}  // namespace
}  // namespace hearth::decoder
