#include <array>

#include <gtest/gtest.h>

#include "models/files/weight_index.h"
#include "tests/unit/model_files_for_test.h"
#include "tests/unit/safetensors_for_test.h"

namespace hearth::files {
namespace {

using models::file_with;
using models::ModelFiles;

constexpr std::string_view kShardIndex = "model.safetensors.index.json";

std::string weight_map(std::string_view members) {
  return "{\"metadata\":{\"total_size\":48},\"weight_map\":{" + std::string(members) + "}}";
}

ModelFiles two_shards() {
  return {
      file_with("one.safetensors", one_tensor("model.language_model.norm.weight")),
      file_with("two.safetensors", one_tensor("model.visual.pos_embed.weight")),
      file_with(std::string(kShardIndex),
                weight_map(R"("model.language_model.norm.weight":"one.safetensors",)"
                           R"("model.visual.pos_embed.weight":"two.safetensors")")),
  };
}

void expect_refused(const ModelFiles& files, Code code, std::string_view says) {
  const auto index = WeightIndex::read(files);
  ASSERT_FALSE(index);
  EXPECT_EQ(index.error().code, code);
  EXPECT_NE(index.error().what.find(says), std::string::npos) << index.error().what;
}

TEST(WeightIndex, ReadsASingleFileWhateverItsLabel) {
  for (const auto* label : {"model.safetensors", "qwen_3_vl.safetensors", "encoder"}) {
    const auto index = WeightIndex::read({file_with(label, one_tensor("w"))});
    ASSERT_TRUE(index) << index.error().what;
    EXPECT_TRUE(index->find("w"));
    EXPECT_EQ(index->total_bytes(), 24U);
  }
}

TEST(WeightIndex, UnitesShardsAndBothNameLayouts) {
  const auto index = WeightIndex::read(two_shards());
  ASSERT_TRUE(index) << index.error().what;
  const auto* norm = index->find("model.norm.weight");
  const auto* positions = index->find("visual.pos_embed.weight");
  ASSERT_TRUE(norm && positions);
  EXPECT_EQ(index->label_of(*norm), "one.safetensors");
  EXPECT_EQ(index->label_of(*positions), "two.safetensors");
  EXPECT_EQ(positions->stored_name, "model.visual.pos_embed.weight");
  EXPECT_EQ(unified_name("lm_head.weight"), "lm_head.weight");
  EXPECT_EQ(unified_name("visual.blocks.0.norm1.weight"), "visual.blocks.0.norm1.weight");
}

TEST(WeightIndex, ReadsTheBytesOfATensor) {
  const auto index = WeightIndex::read(two_shards());
  ASSERT_TRUE(index);
  std::array<std::byte, 24> bytes{};
  ASSERT_TRUE(index->read_tensor(*index->find("model.norm.weight"), bytes));
  for (int i = 0; i < 24; ++i) EXPECT_EQ(std::to_integer<int>(bytes[i]), i);
  EXPECT_TRUE(index->check_unchanged());
}

TEST(WeightIndex, NamesAMissingShard) {
  auto files = two_shards();
  files.erase(files.begin() + 1);
  expect_refused(files, Code::kBadModel, "two.safetensors is missing");
}

TEST(WeightIndex, NamesATensorThatIsNotInItsShard) {
  auto files = two_shards();
  files[2] =
      file_with(std::string(kShardIndex), weight_map(R"("lm_head.weight":"one.safetensors")"));
  expect_refused(files, Code::kBadModel, "lm_head.weight is missing from one.safetensors");
}

TEST(WeightIndex, RefusesATensorUnderBothNames) {
  expect_refused(
      {file_with("model.safetensors",
                 safetensors(R"({"model.visual.a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                             R"("visual.a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                             2))},
      Code::kBadModel, "visual.a is there twice");
}

TEST(WeightIndex, RefusesSeveralFilesWithoutAnIndex) {
  auto files = two_shards();
  files.pop_back();
  expect_refused(files, Code::kBadModel, "2 .safetensors files");
}

TEST(WeightIndex, PrefersTheWholeFileOverAnIndex) {
  auto files = two_shards();
  files.push_back(file_with("model.safetensors", one_tensor("whole")));
  const auto index = WeightIndex::read(files);
  ASSERT_TRUE(index) << index.error().what;
  EXPECT_EQ(index->entries().size(), 1U);
  EXPECT_TRUE(index->find("whole"));
}

TEST(WeightIndex, SaysWhichTensorOrShapeIsWrong) {
  const auto index = WeightIndex::read(two_shards());
  ASSERT_TRUE(index);
  const auto missing = index->require("lm_head.weight");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().what.find("one.safetensors, two.safetensors"), std::string::npos);
  const std::array<std::int64_t, 2> shape = {3, 2};
  const auto wrong = index->require("model.norm.weight", shape);
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().what.find("[2, 3], but must have [3, 2]"), std::string::npos)
      << wrong.error().what;
}

TEST(WeightIndex, NamesTensorAndFileWhenTheFileGotShorter) {
  const auto file = file_with("model.safetensors", one_tensor("w"));
  const auto index = WeightIndex::read({file});
  ASSERT_TRUE(index);
  const auto* entry = index->find("w");
  ASSERT_EQ(::ftruncate(file.fd->get(), static_cast<off_t>(entry->offset + 10)), 0);
  std::array<std::byte, 24> bytes{};
  const auto outcome = index->read_tensor(*entry, bytes);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kBadModel);
  EXPECT_NE(outcome.error().what.find("Tensor w: model.safetensors ends"), std::string::npos)
      << outcome.error().what;
}

TEST(WeightIndex, NoticesThatAFileChanged) {
  const auto config = file_with("config.json", "{}");
  const auto index = WeightIndex::read({file_with("model.safetensors", one_tensor("w")), config});
  ASSERT_TRUE(index);
  ASSERT_EQ(::ftruncate(config.fd->get(), 1), 0);
  const auto outcome = index->check_unchanged();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kModelChanged);
  EXPECT_NE(outcome.error().what.find("config.json"), std::string::npos);
}

TEST(WeightIndex, RefusesWhatIsNotARegularFile) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const Fd writing(ends[1]);
  expect_refused({{"model.safetensors", std::make_shared<const Fd>(ends[0])}}, Code::kBadModel,
                 "not a regular file");
}

}  // namespace
}  // namespace hearth::files
