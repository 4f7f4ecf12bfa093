// Experts in all three kinds of files: each linear where the plan says, in the format it says.
#include <map>

#include <gtest/gtest.h>

#include "models/kernels/matrices.h"
#include "models/weights/convert.h"
#include "models/weights/pieces.h"
#include "models/weights/weights.h"
#include "tests/unit/weights_for_test.h"

namespace hearth::weights {
namespace {

using decoder::ExpertFiles;
using decoder::ExpertsDescription;

constexpr std::int32_t kExperts = 5;

Shape shape_of(ExpertFiles files, std::string_view dtype = "BF16") {
  return {.layers = 2, .dtype = dtype, .experts = kExperts, .expert_files = files};
}

using Floats = std::vector<float>;

// Rows [first, first + rows) of matrix `number` of a stack. Transposed: columns.
Floats rows_of_stack(const files::WeightIndex& index, const std::string& name, std::int64_t number,
                     std::int64_t first, std::int64_t rows, bool transposed) {
  const Floats all = numbers(index, name);
  const auto& shape = must(index.require(name))->shape;
  const std::int64_t columns = transposed ? shape[1] : shape[2];
  const auto at = [&](std::int64_t row, std::int64_t column) {
    const std::int64_t i = transposed ? column * shape[2] + row : row * shape[2] + column;
    return all[static_cast<std::size_t>(number * shape[1] * shape[2] + i)];
  };
  Floats found;
  for (std::int64_t row = first; row < first + rows; ++row)
    for (std::int64_t column = 0; column < columns; ++column) found.push_back(at(row, column));
  return found;
}

struct Expert {
  Floats gate, up, down;
};

Expert expert_of(const files::WeightIndex& index, const ExpertsDescription& d, std::int32_t number,
                 std::int64_t hidden) {
  if (d.files == ExpertFiles::kSeparate) {
    const auto& names = d.separate[static_cast<std::size_t>(number)];
    return {numbers(index, names.gate), numbers(index, names.up), numbers(index, names.down)};
  }
  const bool transposed = d.files == ExpertFiles::kFusedTransposed;
  const std::int64_t inter = d.intermediate_size;
  return {rows_of_stack(index, d.gate_up, number, 0, inter, transposed),
          rows_of_stack(index, d.gate_up, number, inter, inter, transposed),
          rows_of_stack(index, d.down, number, 0, hidden, transposed)};
}

Floats alternating(const Floats& gate, const Floats& up, std::int64_t columns) {
  Floats both;
  for (std::size_t at = 0; at < gate.size(); at += static_cast<std::size_t>(columns)) {
    const auto row = static_cast<std::ptrdiff_t>(at);
    both.insert(both.end(), gate.begin() + row, gate.begin() + row + columns);
    both.insert(both.end(), up.begin() + row, up.begin() + row + columns);
  }
  return both;
}

using Parameter = std::tuple<ExpertFiles, const char*, const char*>;  // files, stored, dtype
class ExpertLoad : public testing::TestWithParam<Parameter> {};

TEST_P(ExpertLoad, EveryExpertIsWhereThePlanSays) {
  const auto& [files, stored, dtype] = GetParam();
  const Checkpoint checkpoint = make_checkpoint(shape_of(files, stored));
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  const Plan plan = plan_of(index, checkpoint, dtype);
  models::LoadOptions options;
  options.device.threads = 3;
  const auto weights = must(load(index, plan, options, must(host_arena(plan.bytes))));
  EXPECT_EQ(weights->decoder().layers[0].experts.chosen, 0);
  const decoder::Experts& found = weights->decoder().layers[1].experts;
  const ExpertsDescription& described = checkpoint.description.layers[1].experts;
  EXPECT_EQ(found.chosen, described.chosen);
  ASSERT_EQ(found.gate_up.count, kExperts);
  ASSERT_EQ(found.down.count, kExperts);
  EXPECT_EQ(found.router.matrix.format, format_of(plan.precision.type));  // never rounded
  expect_packed(found.router.matrix, numbers(index, described.router), "router");
  const std::int64_t hidden = checkpoint.description.hidden_size;
  for (std::int32_t e = 0; e < kExperts; ++e) {
    const Expert expert = expert_of(index, described, e, hidden);
    expect_packed(kernels::matrix_at(found.gate_up, e), alternating(expert.gate, expert.up, hidden),
                  "gate_up");
    expect_packed(kernels::matrix_at(found.down, e), expert.down, "down");
  }
}

std::string name_of(const testing::TestParamInfo<Parameter>& info) {
  constexpr const char* kFiles[] = {"separate", "fused", "transposed"};
  return std::string(kFiles[static_cast<int>(std::get<0>(info.param))]) + "_" +
         std::get<1>(info.param) + "_as_" + std::get<2>(info.param);
}

INSTANTIATE_TEST_SUITE_P(
    Weights, ExpertLoad,
    testing::Combine(testing::Values(ExpertFiles::kSeparate, ExpertFiles::kFused,
                                     ExpertFiles::kFusedTransposed),
                     testing::Values("F32", "BF16", "F16"),
                     testing::Values("float32", "bfloat16", "float8", "int8", "int4")),
    name_of);

TEST(ExpertPlan, ExpertsLieBehindTheirRouterOneBehindTheOther) {
  for (const ExpertFiles files :
       {ExpertFiles::kSeparate, ExpertFiles::kFused, ExpertFiles::kFusedTransposed}) {
    const Checkpoint checkpoint = make_checkpoint(shape_of(files));
    const auto index = must(files::WeightIndex::read(checkpoint.files));
    const Plan plan = plan_of(index, checkpoint, "int8");
    const ExpertPlaces& places = plan.layers[1].experts;
    EXPECT_EQ(places.router + 1, places.gate_up);
    EXPECT_EQ(places.gate_up + 2 * kExperts, plan.final_norm);
    EXPECT_EQ(plan.source_bytes,  // the tied embedding twice
              index.total_bytes() + index.find("embed")->nbytes);
    std::uint64_t distance = 0;
    for (std::size_t e = 0; e + 1 < kExperts; ++e) {
      const auto offset = [&](std::size_t i) { return plan.placements[places.gate_up + i].offset; };
      const std::uint64_t now = offset(2 * e + 2) - offset(2 * e);
      EXPECT_EQ(offset(2 * e + 3) - offset(2 * e + 1), now);
      if (e > 0) {
        EXPECT_EQ(now, distance);
      }
      distance = now;
    }
  }
}

TEST(ExpertPlan, FusedTensorsOfAnotherShapeAreNamed) {
  Checkpoint checkpoint = make_checkpoint(shape_of(ExpertFiles::kFused));
  checkpoint.description.layers[1].experts.files = ExpertFiles::kFusedTransposed;
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  const auto plan = make_plan(index, {checkpoint.description, checkpoint.before, {}});
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, Code::kBadModel);
  EXPECT_NE(plan.error().what.find("[5, 40, 32], but must have [5, 32, 40]"), std::string::npos)
      << plan.error().what;
}

TEST(ExpertPlan, WhatIsStoredTransposedIsReadInOnePiece) {
  const Checkpoint checkpoint = make_checkpoint(shape_of(ExpertFiles::kFusedTransposed));
  const auto index = must(files::WeightIndex::read(checkpoint.files));
  const Plan plan = plan_of(index, checkpoint, "int8");
  std::map<Place, int> pieces;
  for (const Piece& piece : cut(plan, 1)) ++pieces[piece.place];
  for (std::size_t i = 0; i < 2 * kExperts; ++i)
    EXPECT_EQ(pieces[plan.layers[1].experts.gate_up + i], 1);
}

TEST(Convert, TransposesMatricesOfEverySize) {
  for (const std::size_t rows : {1U, 31U, 100U}) {
    for (const std::size_t columns : {1U, 33U, 64U}) {
      const std::size_t stride = rows + 3;
      std::vector<std::uint16_t> source(columns * stride), turned(rows * columns);
      for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::uint16_t>(i);
      transpose(2, reinterpret_cast<const std::byte*>(source.data()), 2 * stride,
                {reinterpret_cast<std::byte*>(turned.data()), rows, columns});
      for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t column = 0; column < columns; ++column)
          ASSERT_EQ(turned[row * columns + column], source[column * stride + row]);
    }
  }
}

}  // namespace
}  // namespace hearth::weights
