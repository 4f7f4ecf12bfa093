// Trained weights must say what is in a picture: ours, and the trial model where it lies beside the
// checkout.
#include <algorithm>
#include <array>
#include <functional>

#include "tests/unit/engine_requests_for_test.h"

namespace hearth::models {
namespace {

using Colour = std::array<std::uint8_t, 3>;

constexpr int kSide = 160;
constexpr Colour kWhite = {246, 246, 246}, kBlack = {12, 12, 12}, kGray = {128, 128, 128};
constexpr Colour kRed = {214, 38, 40}, kBlue = {42, 82, 216}, kYellow = {242, 216, 40},
                 kGreen = {40, 160, 62};

struct Shape {
  Colour colour;
  std::function<bool(int x, int y)> covers;
};

Shape circle(Colour colour, int x0, int y0, int radius) {
  return {colour, [=](int x, int y) {
            return (x - x0) * (x - x0) + (y - y0) * (y - y0) < radius * radius;
          }};
}

Shape square(Colour colour, int x0, int y0, int half) {
  return {colour, [=](int x, int y) { return std::abs(x - x0) < half && std::abs(y - y0) < half; }};
}

StoredPicture draw(Colour ground, const std::vector<Shape>& shapes) {
  StoredPicture picture{{kSide, kSide, 3}, {}};
  for (int y = 0; y < kSide; ++y)
    for (int x = 0; x < kSide; ++x) {
      Colour colour = ground;
      for (const Shape& shape : shapes)
        if (shape.covers(x, y)) colour = shape.colour;
      picture.bytes.insert(picture.bytes.end(), colour.begin(), colour.end());
    }
  return picture;
}

struct Ember : testing::TestWithParam<const char*> {
  void SetUp() override {
    const std::filesystem::path source(HEARTH_SOURCE_DIR);
    const std::string name = GetParam();
    files = open_folder(name == "own" ? source / "models" / "ember" / "weights"
                                      : test_data() / "ember_trial");
    // Ours are committed, so only the trial may be absent.
    ASSERT_TRUE(name != "own" || !files.empty()) << "models/ember/weights is empty";
    if (files.empty()) GTEST_SKIP() << "the trial weights are not here";
  }

  // In lower case: the two models begin their sentences differently.
  std::string caption(const StoredPicture& picture, const std::string& dtype) {
    LoadedModel model(files, dtype);
    const auto heard = model.answer(ask("Describe the picture.", 1), {picture});
    if (!heard->reply) return heard->error->what;
    EXPECT_EQ(heard->reply->stop_reason, "end_token");
    EXPECT_EQ(heard->streamed, heard->reply->text);
    std::string text = heard->reply->text;
    std::transform(text.begin(), text.end(), text.begin(), [](char letter) {
      return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
    });
    return text;
  }

  ModelFiles files;
};

#define EXPECT_SAYS(text, words) EXPECT_NE((text).find(words), std::string::npos) << (text)

TEST_P(Ember, ARedCircleIsARedCircle) {
  const StoredPicture picture = draw(kWhite, {circle(kRed, 80, 80, 30)});
  for (const char* dtype : {"float32", "bfloat16"}) {
    const std::string text = caption(picture, dtype);
    EXPECT_SAYS(text, "red circle");
    EXPECT_SAYS(text, "white background");
  }
}

TEST_P(Ember, PlaceAndBackgroundAreSeen) {
  const std::string text = caption(draw(kBlack, {square(kBlue, 130, 30, 26)}), "auto");
  EXPECT_SAYS(text, "blue square");
  EXPECT_SAYS(text, "top right");
  EXPECT_SAYS(text, "black background");
}

TEST_P(Ember, TwoShapesAreTwo) {
  const std::string text =
      caption(draw(kGray, {circle(kYellow, 30, 130, 26), square(kGreen, 80, 30, 26)}), "auto");
  EXPECT_SAYS(text, "two");
  EXPECT_SAYS(text, "yellow circle");
  EXPECT_SAYS(text, "green square");
  EXPECT_SAYS(text, "bottom left");
}

INSTANTIATE_TEST_SUITE_P(Weights, Ember, testing::Values("own", "trial"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace hearth::models
