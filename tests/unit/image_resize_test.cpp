#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "models/image/resize.h"
#include "models/image/smart_resize.h"
#include "tests/unit/folder_for_test.h"
#include "tests/unit/picture_for_test.h"

namespace hearth::image {
namespace {

std::string hex(std::uint64_t value) {
  std::ostringstream text;
  text << std::hex;
  text.width(16);
  text.fill('0');
  text << value;
  return text.str();
}

std::vector<std::uint8_t> bytes_of(const std::string& hex) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

Picture picture_of(const nlohmann::json& entry) {
  const std::int64_t height = entry["from"][0], width = entry["from"][1];
  auto drawn = draw(entry["kind"].get<std::string>(), entry["seed"], {height, width, 3});
  return {{static_cast<int>(height), static_cast<int>(width)}, std::move(drawn.pixels)};
}

TEST(Resize, GivesThePixelsOfTorchvisionToTheLastBit) {
  const auto cases = models::read_fixture("image/pixels.json")["resized"];
  ASSERT_EQ(cases.size(), 36U);
  for (const auto& entry : cases) {
    SCOPED_TRACE(entry["kind"].dump() + entry["from"].dump() + entry["to"].dump());
    const auto picture = resize_bicubic(picture_of(entry), {entry["to"][0], entry["to"][1]});
    EXPECT_EQ(hex(fnv1a(std::as_bytes(std::span(picture.pixels)))), entry["fnv1a"]);
    if (!entry.contains("pixels")) continue;
    const auto expected = bytes_of(entry["pixels"]);
    ASSERT_EQ(picture.pixels.size(), expected.size());
    int different = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) different += picture.pixels[i] != expected[i];
    EXPECT_EQ(different, 0) << "of " << expected.size() << " values";
  }
}

TEST(Resize, LeavesAPictureOfTheRightSizeAlone) {
  const Picture picture{{3, 2}, draw("noise", 1, {3, 2, 3}).pixels};
  EXPECT_EQ(resize_bicubic(picture, {3, 2}).pixels, picture.pixels);
}

TEST(Resize, KeepsOneColourOneColour) {
  for (const int value : {0, 1, 127, 254, 255}) {
    const Picture picture{{7, 11}, std::vector<std::uint8_t>(7 * 11 * 3, value)};
    for (const Size size : {Size{32, 32}, Size{3, 64}, Size{1, 1}})
      for (const auto pixel : resize_bicubic(picture, size).pixels) ASSERT_EQ(pixel, value);
  }
}

TEST(SmartResize, GivesTheSizesOfTransformers) {
  const auto limits = models::read_fixture("image/pixels.json")["limits"];
  std::ifstream file(HEARTH_SOURCE_DIR "/tests/data/image/sizes.txt");
  std::string line;
  std::getline(file, line);  // what made it
  int cases = 0;
  for (int number, height, width, new_height, new_width;
       file >> number >> height >> width >> new_height >> new_width; ++cases) {
    const auto& [factor, low, high] =
        limits[number].get<std::tuple<int, std::int64_t, std::int64_t>>();
    const auto size = smart_resize({height, width}, {factor, low, high});
    SCOPED_TRACE(testing::Message() << height << " x " << width << ", limits " << number);
    if (new_height == 0) {
      ASSERT_FALSE(size);
      EXPECT_EQ(size.error().code, Code::kBadPicture);
    } else {
      ASSERT_TRUE(size);
      EXPECT_EQ(*size, (Size{new_height, new_width}));
    }
  }
  EXPECT_EQ(cases, 5000);
}

struct Golden {
  Size from, qwen25, qwen3;
};

// notes of the reference implementations' documentation: 14- and 16-pixel patches.
TEST(SmartResize, GivesTheGoldenSizesOfBothGenerations) {
  const PixelLimits qwen25{28, 3136, 12'845'056}, qwen3;
  for (const auto& golden :
       {Golden{{1024, 1024}, {1036, 1036}, {1024, 1024}},
        Golden{{1080, 1920}, {1092, 1932}, {1088, 1920}},
        Golden{{2160, 3840}, {2156, 3836}, {2176, 3840}},
        Golden{{100, 100}, {112, 112}, {256, 256}}, Golden{{70, 42}, {56, 56}, {352, 224}},
        Golden{{8000, 6000}, {4116, 3080}, {4704, 3520}}}) {
    EXPECT_EQ(*smart_resize(golden.from, qwen25), golden.qwen25);
    EXPECT_EQ(*smart_resize(golden.from, qwen3), golden.qwen3);
  }
}

TEST(SmartResize, RefusesEmptyAndEndlessPictures) {
  for (const Size size :
       {Size{0, 5}, Size{5, 0}, Size{0, 0}, Size{-1, 5}, Size{1, 201}, Size{4001, 20}})
    EXPECT_EQ(smart_resize(size, {}).error().code, Code::kBadPicture);
  EXPECT_TRUE(smart_resize({1, 200}, {}));
}

}  // namespace
}  // namespace hearth::image
