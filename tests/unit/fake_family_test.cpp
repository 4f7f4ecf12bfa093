// The fake family through the registry, from files to a prompt.

#include <numeric>

#include <gtest/gtest.h>

#include "models/fake/prompt.h"
#include "models/fake/script.h"
#include "tests/unit/generate_for_test.h"
#include "tests/unit/model_files_for_test.h"

namespace hearth::fake {
namespace {

// Before any test runs, as the worker's main does before any thread does.
const bool kServed = (models::serve_test_families(), true);

using models::file_with;
using std::chrono::milliseconds;

models::ModelFiles fake_files(std::string more = "") {
  return {file_with("config.json", R"({"model_type": "hearth_fake")" + more + "}")};
}

TEST(Script, TellsCommandsFromWords) {
  const Script script =
      parse_script("say !count 3 this !wait 7 !wait load 9 !fail prefill !nan 12 5");
  EXPECT_EQ(script.echo, "say this 5");
  EXPECT_EQ(script.count, 3);
  EXPECT_EQ(script.wait_at(Place::kStep), milliseconds(7));
  EXPECT_EQ(script.wait_at(Place::kLoad), milliseconds(9));
  EXPECT_EQ(script.fault_at(Place::kPrefill), Fault::kThrow);
  EXPECT_EQ(script.fault_at(Place::kStep, 12), Fault::kNan);
  EXPECT_EQ(script.fault_at(Place::kStep, 1), Fault::kNone);
}

TEST(Registry, DetectsTheFakeFamilyByItsModelType) {
  const auto detected = models::detect(fake_files());
  ASSERT_TRUE(detected) << detected.error().what;
  EXPECT_EQ(detected->family, "fake");
}

TEST(Registry, NamesTheFilesThatNobodyRecognises) {
  const auto detected = models::detect(
      {file_with("config.json", R"({"model_type": "other"})"), file_with("notes.txt", "hello")});
  ASSERT_FALSE(detected);
  EXPECT_EQ(detected.error().code, Code::kBadModel);
  for (const char* word : {"config.json", "notes.txt", "other"})
    EXPECT_NE(detected.error().what.find(word), std::string::npos) << detected.error().what;
}

TEST(Registry, PassesOnWhatAFamilySaysOfItsOwnBrokenFiles) {
  const auto loaded = models::load(fake_files(R"(, "context_tokens": "many")"), {});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Code::kBadModel);
  EXPECT_NE(loaded.error().what.find("context_tokens"), std::string::npos) << loaded.error().what;
}

TEST(FakeModel, ReportsLoadingAndStopsWhenCancelled) {
  std::atomic<bool> cancelled{false};
  models::LoadOptions options;
  options.cancelled = &cancelled;
  std::uint64_t reported = 0;
  options.on_progress = [&](std::uint64_t done, std::uint64_t) {
    reported = done;
    cancelled.store(done == 3);
  };
  const auto loaded = models::load(fake_files(R"(, "script": "!wait load 400")"), options);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Code::kCancelled);
  EXPECT_EQ(reported, 3U);
}

TEST(FakeModel, ThrowsAtLoadWhenAsked) {
  EXPECT_THROW((void)models::load(fake_files(R"(, "script": "!fail load")"), {}),
               std::runtime_error);
}

TEST(Crc32, EqualsZlibs) {
  const std::string_view text = "123456789";
  EXPECT_EQ(crc32(std::as_bytes(std::span(text))), 0xCBF43926U);  // the check value of the CRC
  EXPECT_EQ(crc32({}), 0U);
}

contract::Generate picture_chat() {
  contract::Generate request = generate::chat("what is it?");
  contract::ContentPart picture;
  picture.kind = "image";
  picture.tensor.emplace();
  auto& content = request.messages[0].content;
  content.insert(content.begin(), picture);
  return request;
}

TEST(FakePrompt, DescribesPicturesByShapeAndBytes) {
  std::vector<std::byte> pixels(48 * 64 * 3);
  TensorView view{DType::kU8, {48, 64, 3}, pixels};
  const Config config;
  const auto black = read_prompt(picture_chat(), {&view, 1}, config);
  ASSERT_TRUE(black) << black.error().what;
  const std::string words((*black)->answer.begin(), (*black)->answer.end());
  EXPECT_TRUE(words.starts_with("image 1: u8 [48, 64, 3] crc32 "));
  EXPECT_TRUE(words.ends_with("; what is it?")) << words;
  EXPECT_EQ((*black)->image_tokens, 3U);
  pixels.back() = std::byte{1};
  EXPECT_NE((*read_prompt(picture_chat(), {&view, 1}, config))->answer, (*black)->answer);
}

TEST(FakePrompt, RefusesAnEmptyPictureAndALongOne) {
  TensorView empty{DType::kU8, {0, 64, 3}, {}};
  EXPECT_EQ(read_prompt(picture_chat(), {&empty, 1}, Config()).error().code, Code::kBadPicture);
  Config small;
  small.context_tokens = 16;
  EXPECT_EQ(read_prompt(generate::chat("hello"), {}, small).error().code, Code::kTooLong);
}

}  // namespace
}  // namespace hearth::fake
