// Clips: sizes, rows and what is refused, as transformers' video processors have them.
#include <array>

#include <gtest/gtest.h>

#include "models/image/clip.h"
#include "models/image/resize.h"
#include "tests/unit/folder_for_test.h"
#include "tests/unit/model_files_for_test.h"
#include "tests/unit/picture_for_test.h"

namespace hearth::image {
namespace {

using Count = ClipRules::Count;
using models::file_with;

// As tests/fixtures/families/tables.py makes its processors.
PictureRules pictures_of(const std::string& family) {
  PictureRules rules;
  if (family == "qwen2_5_vl") rules.patch_size = 14;
  return rules;
}

ClipRules rules_of(const std::string& family, std::int64_t low, std::int64_t high) {
  return {family == "qwen2_5_vl" ? Count::kEachFrame : Count::kAllFrames, low, high, {}};
}

TEST(ClipSize, IsThatOfTransformers) {
  const auto fixture = models::read_fixture("video/tables.json");
  ASSERT_EQ(fixture["resized"].size(), 600U);
  for (const auto& entry : fixture["resized"]) {
    const std::string family = entry[0];
    ClipRules rules = rules_of(family, entry[1], entry[2]);
    if (entry[3].get<bool>()) rules.cap_tokens = family == "qwen2_5_vl" ? 128'000 : 768;
    const Size sent{entry[5], entry[6]};
    const auto size = clip_size(sent, entry[4], rules, pictures_of(family));
    ASSERT_TRUE(size) << entry << ": " << size.error().what;
    EXPECT_EQ(*size, (Size{entry[7], entry[8]})) << entry;
  }
}

TEST(ClipSize, OfASingleFrameIsThatOfTwo) {
  for (const Size size : {Size{720, 1280}, Size{31, 500}, Size{2000, 40}})
    EXPECT_EQ(*clip_size(size, 1, {}, {}), *clip_size(size, 2, {}, {}));
}

std::vector<float> rows_of(const Still& still, const PictureRules& rules) {
  std::vector<float> rows(static_cast<std::size_t>(still.count() * rules.row_floats()));
  const Levels levels = levels_of(rules);
  const HearthPatchify call = patchify_call(still, rules, levels, rows.data());
  EXPECT_EQ(hearth_kernels_cpu()->patchify(&call, nullptr), HEARTH_OK);
  return rows;
}

// The frames of a drawn clip that a processor has taken.
DrawnPicture frames_of(const nlohmann::json& entry) {
  const std::vector<std::int64_t> shape = entry["shape"];
  const auto all =
      draw(entry["kind"].get<std::string>(), entry["seed"], {shape[0] * shape[1], shape[2], 3});
  const auto frame_bytes = static_cast<std::ptrdiff_t>(shape[1] * shape[2] * 3);
  DrawnPicture taken{shape, {}};
  for (const std::int64_t frame : entry["frames"]) {
    const auto begin = all.pixels.begin() + frame * frame_bytes;
    taken.pixels.insert(taken.pixels.end(), begin, begin + frame_bytes);
  }
  taken.shape[0] = static_cast<std::int64_t>(entry["frames"].size());
  return taken;
}

class Rows : public testing::TestWithParam<ResizeWhere> {};

TEST_P(Rows, AreThoseOfTransformersToTheLastBit) {
  const auto fixture = models::read_fixture("video/tables.json");
  for (const auto& entry : fixture["prepared"]) {
    SCOPED_TRACE(entry["seed"]);
    const PictureRules pictures = pictures_of(entry["family"]);
    const DrawnPicture clip = frames_of(entry);
    const Size sent{static_cast<int>(clip.shape[1]), static_cast<int>(clip.shape[2])};
    const auto size = clip_size(sent, clip.shape[0],
                                rules_of(entry["family"], entry["low"], entry["high"]), pictures);
    ASSERT_TRUE(size) << size.error().what;
    std::vector<float> rows;
    std::int64_t steps = 0;
    for (std::int64_t first = 0; first < clip.shape[0]; first += 2, ++steps) {
      auto step = read_step(clip.view(), first, *size, pictures, GetParam());
      ASSERT_TRUE(step) << step.error().what;
      EXPECT_EQ(step->grid_height, entry["grid"][1]);
      EXPECT_EQ(step->grid_width, entry["grid"][2]);
      // What a device would do.
      step->picture = resize_bicubic(std::move(step->picture), *size, step->frames);
      const auto made = rows_of(*step, pictures);
      rows.insert(rows.end(), made.begin(), made.end());
    }
    EXPECT_EQ(steps, entry["grid"][0]);
    EXPECT_EQ(fnv1a(std::as_bytes(std::span(rows))),
              std::stoull(entry["fnv1a"].get<std::string>(), nullptr, 16));
  }
}

INSTANTIATE_TEST_SUITE_P(Clip, Rows, testing::Values(ResizeWhere::kHere, ResizeWhere::kOnDevice));

TEST(Step, ThatIsOneFrameIsAStill) {
  const auto frame = draw("noise", 3, {40, 50, 3});
  DrawnPicture clip{{1, 40, 50, 3}, frame.pixels};
  const auto step = read_step(clip.view(), 0, {64, 64}, {}, ResizeWhere::kOnDevice);
  ASSERT_TRUE(step) << step.error().what;
  EXPECT_EQ(step->frames, 1);
  EXPECT_EQ(step->picture.pixels, frame.pixels);
}

TEST(Step, OfGrayAndTransparentFramesIsRead) {
  for (const std::int64_t channels : {1, 4}) {
    DrawnPicture clip{{3, 8, 8, channels},
                      std::vector<std::uint8_t>(static_cast<std::size_t>(192 * channels), 255)};
    const auto step = read_step(clip.view(), 0, {32, 32}, {}, ResizeWhere::kOnDevice);
    ASSERT_TRUE(step) << step.error().what;
    EXPECT_EQ(step->picture.pixels, std::vector<std::uint8_t>(2 * 8 * 8 * 3, 255));
  }
}

TEST(ClipRules, AreReadAndFallBackAsInTransformers) {
  const auto read = [](const models::ModelFiles& files) {
    const auto rules = read_clip_rules(files, {}, {});
    EXPECT_TRUE(rules) << rules.error().what;
    return std::array{rules->min_pixels, rules->max_pixels, rules->cap_tokens.value_or(0)};
  };
  const auto size = [](int low) {
    return R"("size":{"shortest_edge":)" + std::to_string(low) + R"(,"longest_edge":9999})";
  };
  const auto own = file_with("video_preprocessor_config.json", "{" + size(1) + "}");
  const auto nested = file_with("processor_config.json", R"({"video_processor":{)" + size(2) +
                                                             R"(,"cap_pixels_per_frame":true}})");
  const auto picture = file_with("preprocessor_config.json", "{" + size(3) + "}");
  EXPECT_EQ(read({picture, nested, own}), (std::array<std::int64_t, 3>{1, 9999, 0}));
  EXPECT_EQ(read({picture, nested}), (std::array<std::int64_t, 3>{2, 9999, 768}));
  EXPECT_EQ(read({picture}), (std::array<std::int64_t, 3>{3, 9999, 0}));
  EXPECT_EQ(read({}), (std::array<std::int64_t, 3>{4'096, 25'165'824, 0}));
}

TEST(ClipRules, ThatDoNotFitThePicturesAreRefused) {
  const auto code = [](const std::string& json) {
    const auto rules = read_clip_rules({file_with("video_preprocessor_config.json", json)}, {}, {});
    return rules ? Code::kInternal : rules.error().code;
  };
  EXPECT_EQ(code(R"({"patch_size":14})"), Code::kBadModel);
  EXPECT_EQ(code(R"({"size":{"shortest_edge":9,"longest_edge":8}})"), Code::kBadModel);
  EXPECT_EQ(code(R"({"image_mean":[0.1,0.5,0.5]})"), Code::kUnsupported);
  EXPECT_EQ(code(R"({"do_normalize":false})"), Code::kUnsupported);
}

TEST(Limits, OfARequestCountAllFramesTogether) {
  const auto each = *with_limits(rules_of("qwen2_5_vl", 100, 1000), 0, 4000, 8);
  EXPECT_EQ(each.max_pixels, 500);
  EXPECT_EQ(each.min_pixels, 100);
  const auto all = *with_limits(rules_of("qwen3_vl", 100, 1000), 2000, 0, 8);
  EXPECT_EQ(all.min_pixels, 2000);
  EXPECT_EQ(all.max_pixels, 2000);
  EXPECT_EQ(with_limits({}, 2, 1, 8).error().code, Code::kBadRequest);
}

}  // namespace
}  // namespace hearth::image
