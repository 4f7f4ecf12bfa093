#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "models/image/patchify.h"
#include "models/image/resize.h"
#include "tests/unit/folder_for_test.h"
#include "tests/unit/model_files_for_test.h"
#include "tests/unit/picture_for_test.h"

namespace hearth::image {
namespace {

using models::file_with;

constexpr std::array<double, 3> kClipMean = {0.48145466, 0.4578275, 0.40821073};
constexpr std::array<double, 3> kClipStd = {0.26862954, 0.26130258, 0.27577711};

PictureRules rules_of(const nlohmann::json& rules) {
  PictureRules result;
  result.patch_size = rules["patch_size"];
  result.min_pixels = rules["size"]["shortest_edge"];
  result.max_pixels = rules["size"]["longest_edge"];
  result.mean = rules.value("image_mean", kClipMean);
  result.std = rules.value("image_std", kClipStd);
  return result;
}

std::vector<float> rows_of(const Still& still, const PictureRules& rules) {
  std::vector<float> rows(static_cast<std::size_t>(still.count() * rules.row_floats()));
  const Levels levels = levels_of(rules);
  const HearthPatchify call = patchify_call(still, rules, levels, rows.data());
  EXPECT_EQ(hearth_kernels_cpu()->patchify(&call, nullptr), HEARTH_OK);
  return rows;
}

TEST(Patchify, GivesTheRowsOfTransformersToTheLastBit) {
  const auto fixture = models::read_fixture("image/pixels.json");
  for (const auto& entry : fixture["prepared"]) {
    SCOPED_TRACE(entry.dump());
    const auto picture = draw(entry["kind"].get<std::string>(), entry["seed"], entry["shape"]);
    const auto rules = rules_of(fixture["rules"][entry["rules"].get<std::string>()]);
    const auto still = read_still(picture.view(), rules, ResizeWhere::kHere);
    ASSERT_TRUE(still) << still.error().what;
    EXPECT_EQ(still->grid_height, entry["grid"][1]);
    EXPECT_EQ(still->grid_width, entry["grid"][2]);
    EXPECT_EQ(still->count(), entry["rows"][0]);
    EXPECT_EQ(rules.row_floats(), entry["rows"][1]);
    const auto rows = rows_of(*still, rules);
    EXPECT_EQ(fnv1a(std::as_bytes(std::span(rows))),
              std::stoull(entry["fnv1a"].get<std::string>(), nullptr, 16));
  }
}

TEST(Patchify, PutsTheFourPatchesOfATokenAfterEachOther) {
  Still still{2, 4, {{32, 64}, std::vector<std::uint8_t>(32 * 64 * 3)}};
  for (int y = 0; y < 32; ++y)
    for (int x = 0; x < 64; ++x) still.picture.pixels[(y * 64 + x) * 3] = y / 16 * 4 + x / 16;
  EXPECT_EQ(still.tokens(2), 2);
  const auto rows = rows_of(still, {});
  const std::array order = {0, 1, 4, 5, 2, 3, 6, 7};
  for (int row = 0; row < 8; ++row)
    EXPECT_EQ(rows[row * 1536], (static_cast<float>(order[row]) - 127.5F) / 127.5F);
}

TEST(Still, OfADeviceKeepsThePixelsThatWereSent) {
  const auto picture = draw("noise", 5, {70, 90, 3});
  const PictureRules rules;
  const auto here = read_still(picture.view(), rules, ResizeWhere::kHere);
  const auto there = read_still(picture.view(), rules, ResizeWhere::kOnDevice);
  ASSERT_TRUE(here && there);
  EXPECT_EQ(here->size(rules.patch_size), there->size(rules.patch_size));
  EXPECT_EQ(here->picture.size, here->size(rules.patch_size));
  EXPECT_EQ(there->picture.size, (Size{70, 90}));
  EXPECT_EQ(there->picture.pixels, picture.pixels);
  EXPECT_EQ(resize_bicubic(there->picture, here->picture.size).pixels, here->picture.pixels);
}

TEST(Still, OfMorePixelsThanADeviceTakesIsResizedHere) {
  const std::int64_t height = 4097, width = 4096;
  const DrawnPicture picture{{height, width, 1},
                             std::vector<std::uint8_t>(static_cast<std::size_t>(height * width))};
  PictureRules rules;
  rules.max_pixels = 128 * 128;
  rules.min_pixels = 32 * 32;
  const auto still = read_still(picture.view(), rules, ResizeWhere::kOnDevice);
  ASSERT_TRUE(still) << still.error().what;
  EXPECT_EQ(still->picture.size, still->size(rules.patch_size));
}

TEST(Picture, ReadsUnitFloatsByRounding) {
  const std::vector<float> values = {0.0F, 1.0F, 0.5F, -3.0F, 7.0F, 2.5F / 255.0F};
  const auto picture = copy_picture({DType::kF32, {1, 2, 3}, std::as_bytes(std::span(values))});
  ASSERT_TRUE(picture) << picture.error().what;
  EXPECT_EQ(picture->pixels, (std::vector<std::uint8_t>{0, 255, 128, 0, 255, 2}));
}

TEST(Picture, RefusesWhatIsNotFinite) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    const std::vector<float> values = {0.0F, bad, 0.0F};
    const auto picture = copy_picture({DType::kF32, {1, 1, 3}, std::as_bytes(std::span(values))});
    ASSERT_FALSE(picture);
    EXPECT_EQ(picture.error().code, Code::kBadPicture);
  }
}

TEST(Picture, RepeatsGrayAndPutsTransparencyOverWhite) {
  const auto gray = copy_picture(DrawnPicture{{1, 2, 1}, {7, 200}}.view());
  ASSERT_TRUE(gray);
  EXPECT_EQ(gray->pixels, (std::vector<std::uint8_t>{7, 7, 7, 200, 200, 200}));
  const DrawnPicture drawn{{1, 3, 4}, {10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 255, 128}};
  const auto rgba = copy_picture(drawn.view());
  ASSERT_TRUE(rgba);
  EXPECT_EQ(rgba->pixels, (std::vector<std::uint8_t>{10, 20, 30, 255, 255, 255, 127, 177, 255}));
}

TEST(Picture, RefusesOtherShapesAndTypes) {
  const std::vector<std::uint8_t> pixels(64);
  const auto bytes = std::as_bytes(std::span(pixels));
  for (const auto& shape : {std::vector<std::int64_t>{8, 8},
                            {4, 4, 2},
                            {1, 4, 4, 3},
                            {4, 4, 5},
                            {0, 4, 3},
                            {4, 0, 3},
                            {5, 5, 3},
                            {1, std::int64_t{1} << 40, 3},
                            {}}) {
    const auto picture = copy_picture({DType::kU8, shape, bytes});
    ASSERT_FALSE(picture);
    EXPECT_EQ(picture.error().code, Code::kBadPicture);
  }
  const auto wrong_type = copy_picture({DType::kF16, {2, 2, 4}, bytes.first(32)});
  ASSERT_FALSE(wrong_type);
  EXPECT_NE(wrong_type.error().what.find("f16"), std::string::npos) << wrong_type.error().what;
}

TEST(PictureRules, ComeFromEitherFileOverTheFamilysOwn) {
  constexpr auto kConfig =
      R"({"size":{"shortest_edge":16384,"longest_edge":25600},"patch_size":14,)"
      R"("image_mean":[0.1,0.2,0.3],"resample":3})";
  const auto nested = "{\"image_processor\":" + std::string(kConfig) + "}";
  for (const auto& file : {file_with("preprocessor_config.json", kConfig),
                           file_with("processor_config.json", nested)}) {
    const auto rules = read_picture_rules({file}, {});
    ASSERT_TRUE(rules) << rules.error().what;
    EXPECT_EQ(rules->min_pixels, 16384);
    EXPECT_EQ(rules->max_pixels, 25600);
    EXPECT_EQ(rules->patch_size, 14);
    EXPECT_EQ(rules->mean[1], 0.2);
    EXPECT_EQ(rules->std[1], 0.5);
  }
  EXPECT_EQ(read_picture_rules({}, {})->max_pixels, 16'777'216);
}

TEST(PictureRules, RefuseStepsThatAreNotDone) {
  const auto code_for = [](std::string_view config) {
    const auto rules = read_picture_rules({file_with("preprocessor_config.json", config)}, {});
    return rules ? Code::kInternal : rules.error().code;
  };
  EXPECT_EQ(code_for(R"({"do_normalize":false})"), Code::kUnsupported);
  EXPECT_EQ(code_for(R"({"resample":2})"), Code::kUnsupported);
  EXPECT_EQ(code_for(R"({"rescale_factor":1.0})"), Code::kUnsupported);
  EXPECT_EQ(code_for(R"({"patch_size":0})"), Code::kBadModel);
  EXPECT_EQ(code_for(R"({"image_std":[0,1,1]})"), Code::kBadModel);
  EXPECT_EQ(code_for(R"({"image_mean":[0,1]})"), Code::kBadModel);
  EXPECT_EQ(code_for(R"({"size":{"shortest_edge":9,"longest_edge":5}})"), Code::kBadModel);
}

}  // namespace
}  // namespace hearth::image
