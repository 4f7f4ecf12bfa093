// The byte plan: what lies where, in which format, and what is refused before a byte is read.
#include <algorithm>

#include <gtest/gtest.h>

#include "models/weights/pieces.h"
#include "tests/unit/weights_for_test.h"

namespace hearth::weights {
namespace {

struct Planned {
  Checkpoint checkpoint;
  files::WeightIndex index;
  Plan plan;
};

Planned planned(const Shape& shape, std::string_view dtype) {
  Checkpoint checkpoint = make_checkpoint(shape);
  files::WeightIndex index = must(files::WeightIndex::read(checkpoint.files));
  Plan plan = plan_of(index, checkpoint, dtype);
  return {std::move(checkpoint), std::move(index), std::move(plan)};
}

std::vector<std::string> names(const Plan& plan) {
  std::vector<std::string> found;
  for (const Placement& placement : plan.placements)
    found.push_back(placement.sources.front().entry->name);
  return found;
}

Error refusal(const Checkpoint& checkpoint, std::string_view dtype = "auto") {
  const files::WeightIndex index = must(files::WeightIndex::read(checkpoint.files));
  auto plan = make_plan(index, {checkpoint.description, checkpoint.before, {dtype}});
  return plan ? Error{} : plan.error();
}

TEST(Plan, WeightsLieInTheOrderInWhichTheyAreComputedWith) {
  const auto [checkpoint, index, plan] = planned({.layers = 2, .tied = false}, "auto");
  const std::vector<std::string> expected = {"tower.norm",
                                             "tower.weight",
                                             "embed",  //
                                             "0.attention_norm",
                                             "0.q",
                                             "0.q_norm",
                                             "0.k_norm",
                                             "0.output",
                                             "0.mlp_norm",  //
                                             "0.gate",
                                             "0.down",  //
                                             "1.attention_norm",
                                             "1.q",
                                             "1.q_norm",
                                             "1.k_norm",
                                             "1.output",
                                             "1.mlp_norm",  //
                                             "1.gate",
                                             "1.down",  //
                                             "norm",
                                             "head"};
  EXPECT_EQ(names(plan), expected);
}

TEST(Plan, PlacementsAreAlignedAndFillTheArenaWithoutOverlap) {
  for (const auto* dtype : {"float32", "bfloat16", "float8", "int8", "int4"}) {
    const auto [checkpoint, index, plan] = planned({.biases = true}, dtype);
    std::uint64_t end = 0;
    for (const Placement& placement : plan.placements) {
      EXPECT_EQ(placement.offset % kAlignmentBytes, 0U);
      EXPECT_EQ(placement.scale_offset % kAlignmentBytes, 0U);
      EXPECT_GE(placement.offset, end) << dtype;
      EXPECT_LT(placement.offset - end, kAlignmentBytes) << dtype;
      EXPECT_GE(placement.scale_offset, placement.offset + placement.bytes) << dtype;
      end = placement.scale_offset + placement.scale_bytes;
    }
    EXPECT_GE(plan.bytes, end);
    EXPECT_LT(plan.bytes - end, kAlignmentBytes);
  }
}

TEST(Plan, ATiedHeadSharesTheEmbeddingUnlessItIsRounded) {
  for (const auto* dtype : {"float32", "bfloat16"}) {
    const auto tied = planned({.tied = true}, dtype);
    EXPECT_EQ(tied.plan.head.weight, tied.plan.embedding);
    const auto untied = planned({.tied = false}, dtype);
    EXPECT_NE(untied.plan.head.weight, untied.plan.embedding);
  }
  for (const auto* dtype : {"float8", "int8", "int4"}) {
    const auto [checkpoint, index, plan] = planned({.tied = true}, dtype);
    EXPECT_EQ(plan.placements[plan.embedding].format, HEARTH_FORMAT_BF16);
    EXPECT_EQ(plan.placements[plan.head.weight].format, plan.precision.head);
  }
}

TEST(Plan, AHeadCanBeKeptFromRounding) {
  const Checkpoint checkpoint = make_checkpoint({.tied = false});
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  for (const auto* dtype : {"float32", "bfloat16", "float8", "int8", "int4"}) {
    const Plan plan = must(make_plan(
        index, {checkpoint.description, checkpoint.before, {.dtype = dtype, .head = "bfloat16"}}));
    EXPECT_EQ(plan.placements[plan.head.weight].format, format_of(plan.precision.type)) << dtype;
  }
  const auto refused = make_plan(
      index, {checkpoint.description, checkpoint.before, {.dtype = "int8", .head = "int4"}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnsupported);
}

struct Formats {
  const char* dtype;
  HearthType type;
  HearthFormat linear, head;
};
class PlanFormats : public testing::TestWithParam<Formats> {};

TEST_P(PlanFormats, FollowTheDtype) {
  const Formats& wanted = GetParam();
  const auto [checkpoint, index, plan] = planned({.tied = false, .biases = true}, wanted.dtype);
  const auto format = [&](Place place) { return plan.placements[place].format; };
  EXPECT_EQ(plan.precision.name, wanted.dtype);
  EXPECT_EQ(plan.precision.type, wanted.type);
  EXPECT_EQ(format(plan.head.weight), wanted.head);
  EXPECT_EQ(format(plan.embedding), format_of(wanted.type));
  EXPECT_EQ(format(plan.final_norm), HEARTH_FORMAT_F32);
  EXPECT_EQ(format(plan.further.at("tower.norm")), HEARTH_FORMAT_F32);
  EXPECT_EQ(format(plan.further.at("tower.weight")), format_of(wanted.type));
  for (const LayerPlaces& layer : plan.layers) {
    for (const LinearPlace& linear : {layer.qkv, layer.output, layer.gate_up, layer.down})
      EXPECT_EQ(format(linear.weight), wanted.linear);
    EXPECT_EQ(format(layer.qkv.bias), format_of(wanted.type));
    EXPECT_EQ(format(layer.q_norm), HEARTH_FORMAT_F32);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Plan, PlanFormats,
    testing::Values(Formats{"float32", HEARTH_F32, HEARTH_FORMAT_F32, HEARTH_FORMAT_F32},
                    Formats{"bfloat16", HEARTH_BF16, HEARTH_FORMAT_BF16, HEARTH_FORMAT_BF16},
                    Formats{"float8", HEARTH_BF16, HEARTH_FORMAT_FP8, HEARTH_FORMAT_INT8},
                    Formats{"int8", HEARTH_BF16, HEARTH_FORMAT_INT8, HEARTH_FORMAT_INT8},
                    Formats{"int4", HEARTH_BF16, HEARTH_FORMAT_INT4, HEARTH_FORMAT_INT8}),
    [](const auto& info) { return std::string(info.param.dtype); });

TEST(Plan, AutoKeepsTheFilesTypeAndWidensF16) {
  EXPECT_EQ(planned({.dtype = "BF16"}, "auto").plan.precision.name, "bfloat16");
  EXPECT_EQ(planned({.dtype = "F32"}, "auto").plan.precision.name, "float32");
  EXPECT_EQ(planned({.dtype = "F16"}, "auto").plan.precision.name, "float32");
}

TEST(Plan, CountsEveryByteThatLoadingReads) {
  const auto tied = planned({.tied = true}, "bfloat16");
  EXPECT_EQ(tied.plan.source_bytes, tied.index.total_bytes());
  const auto twice = planned({.tied = true}, "int8");  // embedding and head
  EXPECT_EQ(twice.plan.source_bytes, twice.index.total_bytes() + twice.index.find("embed")->nbytes);
}

TEST(Plan, RefusesADtypeThatIsNone) {
  const Error error = refusal(make_checkpoint({}), "int5");
  EXPECT_EQ(error.code, Code::kUnsupported);
  EXPECT_NE(error.what.find("int5"), std::string::npos);
}

TEST(Plan, NamesATensorThatIsMissingOrHasAnotherShape) {
  Checkpoint missing = make_checkpoint({});
  missing.description.layers[1].down.weight = "absent";
  EXPECT_EQ(refusal(missing).code, Code::kBadModel);
  EXPECT_NE(refusal(missing).what.find("absent"), std::string::npos);
  Checkpoint other = make_checkpoint({});
  other.before[1].shape = {5, 6};
  EXPECT_NE(refusal(other).what.find("tower.weight has shape [5, 3, 2], but must have [5, 6]"),
            std::string::npos)
      << refusal(other).what;
}

TEST(Plan, RefusesBiasesOfSomePartsOnly) {
  Checkpoint checkpoint = make_checkpoint({.biases = true});
  checkpoint.description.layers[0].k.bias.clear();
  EXPECT_EQ(refusal(checkpoint).code, Code::kBadModel);
  EXPECT_NE(refusal(checkpoint).what.find("only some parts have a bias"), std::string::npos);
}

class Pieces : public testing::TestWithParam<std::uint64_t> {};

TEST_P(Pieces, TakeEveryRowOfEverySourceOnceAndBeginAtTiles) {
  const auto [checkpoint, index, plan] = planned({.intermediate = 1000, .vocabulary = 777}, "int8");
  std::map<std::pair<Place, std::size_t>, std::int64_t> taken;
  Place last = 0;
  for (const Piece& piece : cut(plan, GetParam())) {
    EXPECT_GE(piece.place, last);
    last = piece.place;
    EXPECT_EQ(piece.first % HEARTH_TILE, 0);
    const Placement& placement = plan.placements[piece.place];
    std::int64_t rows = 0;
    for (std::size_t i = 0; i < placement.sources.size(); ++i) {
      const SourceRows part = rows_of(placement.sources[i], piece);
      if (part.rows > 0) {
        EXPECT_EQ(part.first, (taken[{piece.place, i}]));
      }
      taken[{piece.place, i}] += part.rows;
      rows += part.rows;
    }
    EXPECT_EQ(rows, piece.rows);
    EXPECT_EQ(piece.last, piece.first + piece.rows == placement.rows);
  }
  for (Place place = 0; place < plan.placements.size(); ++place)
    for (std::size_t i = 0; i < plan.placements[place].sources.size(); ++i)
      EXPECT_EQ((taken[{place, i}]), plan.placements[place].sources[i].rows);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Pieces, testing::Values(1, 4096, 1 << 20));

}  // namespace
}  // namespace hearth::weights
