// Clips: what is refused, and how; limits, several of them, cancelling.
#include "tests/unit/engine_qwen_for_test.h"
#include "tests/unit/engine_requests_for_test.h"
#include "tests/unit/model_files_for_test.h"

namespace hearth::language {
namespace {

using models::LoadedModel;
using models::StoredPicture;

struct Asked {
  contract::Generate request;
  std::vector<StoredPicture> tensors;
};

// What happens in a gray clip of 4 frames a second.
Asked clip(std::vector<std::int64_t> shape) {
  Asked asked{models::ask("What happens?", 1), {}};
  asked.request.messages[0].content[0].kind = "video";
  asked.request.messages[0].content[0].fps = 4.0;
  std::int64_t bytes = 1;
  for (const std::int64_t size : shape) bytes *= size;
  asked.tensors.push_back(
      {std::move(shape), std::vector<std::uint8_t>(static_cast<std::size_t>(bytes), 90)});
  return asked;
}

struct ClipAnswers : testing::Test {
  LoadedModel model{case_files("shallow_bf16")};
  Asked asked = clip({5, 32, 32, 3});
  contract::ContentPart& part() { return asked.request.messages[0].content[0]; }

  Error refused() {
    const auto prepared = model.prepare(asked.request, asked.tensors);
    EXPECT_FALSE(prepared);
    return prepared ? fail(Code::kInternal, "") : prepared.error();
  }
  std::uint32_t tokens() {
    const auto prepared = model.prepare(asked.request, asked.tensors);
    EXPECT_TRUE(prepared) << prepared.error().what;
    return prepared ? static_cast<const decoder::MediaPrompt&>(**prepared).image_tokens : 0;
  }
};

TEST_F(ClipAnswers, WithoutFramesPerSecondItIsRefusedWithAHint) {
  part().fps = 0.0;
  const Error error = refused();
  EXPECT_EQ(error.code, Code::kBadRequest);
  EXPECT_NE(error.what.find("video 1"), std::string::npos) << error.what;
  EXPECT_FALSE(error.hint.empty());
}

TEST_F(ClipAnswers, TimesThatNoVideoHasAreRefused) {
  part().fps = 1e-300;
  const Error error = refused();
  EXPECT_EQ(error.code, Code::kBadRequest);
  EXPECT_NE(error.what.find("seconds"), std::string::npos) << error.what;
}

TEST_F(ClipAnswers, IndicesMustRiseAndBeOneForEachFrame) {
  for (const std::vector<std::int64_t>& indices : {std::vector<std::int64_t>{0, 1, 2, 3},
                                                   {0, 1, 2, 3, 4, 5},
                                                   {0, 1, 1, 2, 3},
                                                   {0, 2, 1, 3, 4}}) {
    part().frame_indices = indices;
    const Error error = refused();
    EXPECT_EQ(error.code, Code::kBadRequest);
    EXPECT_NE(error.what.find("frame_indices"), std::string::npos) << error.what;
  }
}

TEST_F(ClipAnswers, ShapesThatAreNoClipAreRefused) {
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{32, 32, 3}, {0, 32, 32, 3}, {2, 0, 32, 3}, {2, 32, 32, 2}}) {
    asked = clip(shape);
    const Error error = refused();
    EXPECT_EQ(error.code, Code::kBadPicture);
    EXPECT_NE(error.what.find("video 1"), std::string::npos) << error.what;
  }
}

TEST_F(ClipAnswers, OneFrameIsAClipOfOneStep) {
  asked = clip({1, 32, 32, 3});
  EXPECT_GT(tokens(), 0U);
  EXPECT_TRUE(model.answer(asked.request, asked.tensors)->reply);
}

TEST_F(ClipAnswers, TooManyTokensAreRefusedBeforeAPixelIsTouched) {
  asked = clip({1, 32, 32, 3});
  asked.tensors[0] = {{2000, 64, 64, 3}, {}};  // without its pixels
  part().min_pixels = 2000 * 64 * 64;
  EXPECT_EQ(refused().code, Code::kTooLong);
}

TEST_F(ClipAnswers, LimitsOfThePartCountBeforeThoseOfTheRequest) {
  asked = clip({4, 64, 64, 3});
  asked.request.max_pixels = 4 * 32 * 32;
  const std::uint32_t by_request = tokens();
  part().max_pixels = 4 * 64 * 64;
  EXPECT_EQ(tokens(), 4 * by_request);
  part().min_pixels = part().max_pixels + 1;
  EXPECT_EQ(refused().code, Code::kBadRequest);
}

TEST_F(ClipAnswers, LimitsOfOnePictureAreNotThoseOfTheOther) {
  Asked two{models::ask("?", 2), {models::plain_picture(64, 64), models::plain_picture(64, 64)}};
  two.request.messages[0].content[1].max_pixels = 1024;
  const auto heard = model.answer(two.request, two.tensors);
  ASSERT_TRUE(heard->reply) << heard->error->what;
  EXPECT_EQ(heard->reply->pictures[0].tokens, 16U);
  EXPECT_EQ(heard->reply->pictures[1].tokens, 4U);
  EXPECT_EQ(heard->reply->pictures[1].seen_width, 32);
}

TEST_F(ClipAnswers, SeveralClipsAndPicturesOfAnySizesStandInOnePrompt) {
  asked = clip({3, 32, 48, 3});
  auto& content = asked.request.messages[0].content;
  contract::ContentPart picture, text;
  picture.kind = "image";
  text.kind = "text";
  text.text = "then";
  content.insert(content.begin(), {part(), text, picture});
  asked.tensors.insert(asked.tensors.begin(),
                       {clip({2, 48, 32, 3}).tensors[0], models::plain_picture(40, 64)});
  const auto heard = model.answer(asked.request, asked.tensors);
  ASSERT_TRUE(heard->reply) << heard->error->what;
  ASSERT_EQ(heard->reply->pictures.size(), 3U);
  EXPECT_EQ(heard->reply->pictures[0].frames, 2);
  EXPECT_EQ(heard->reply->pictures[1].frames, 0);
  EXPECT_EQ(heard->reply->pictures[2].frames, 3);
}

TEST_F(ClipAnswers, ACancelIsSeenBetweenFrames) {
  models::Job job(1);
  job.cancelled = true;
  const TensorView view = asked.tensors[0].view();
  const auto prepared = model.model().generates()->prepare(asked.request, {&view, 1}, job);
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, Code::kCancelled);
}

// Its checkpoint, with a tokenizer that has a mark for boxes.
models::ModelFiles with_boxes(const std::string& name) {
  nlohmann::json tokenizer = models::read_fixture(
      (name.find('/') == std::string::npos ? "qwen3_vl/" + name : name) + "/tokenizer.json");
  nlohmann::json mark = tokenizer["added_tokens"].back();
  mark["id"] = mark["id"].get<int>() + 1;
  mark["content"] = "<|box_start|>";
  mark["special"] = true;
  tokenizer["added_tokens"].push_back(mark);
  models::ModelFiles files = without(case_files(name), "tokenizer.json");
  files.push_back(models::file_with("tokenizer.json", tokenizer.dump()));
  return files;
}

TEST(Coordinates, CountWhatTheFamilyCounts) {
  const auto coordinates = [](const models::ModelFiles& files) {
    const auto heard = LoadedModel(files).answer(models::ask("Where?"));
    return heard->reply ? heard->reply->coordinates : heard->error->what;
  };
  EXPECT_EQ(coordinates(with_boxes("shallow_bf16")), "thousandths");
  EXPECT_EQ(coordinates(with_boxes("qwen2_5_vl/untied_hub_f32")), "pixels");
  EXPECT_EQ(coordinates(case_files("shallow_bf16")), "none") << "without marks for boxes";
  EXPECT_EQ(coordinates(case_files("qwen3/tied_bf16")), "none") << "text only";
}

TEST(Counter, SaysWhatThePromptTakesWithoutTheModel) {
  Asked asked = clip({5, 48, 80, 3});
  models::LoadOptions options;
  options.slots = 2;
  for (const char* name : {"shallow_bf16", "qwen2_5_vl/untied_hub_f32"}) {
    const auto counter = models::counter(case_files(name), options);
    ASSERT_TRUE(counter) << counter.error().what;
    contract::CountTokens question;
    question.messages = asked.request.messages;
    question.messages[0].content[0].tensor->shape = asked.tensors[0].shape;
    const auto counted = (*counter)->count(question);
    ASSERT_TRUE(counted) << counted.error().what;
    LoadedModel model{case_files(name)};
    const auto heard = model.answer(asked.request, asked.tensors);
    ASSERT_TRUE(heard->reply) << heard->error->what;
    EXPECT_EQ(counted->prompt_tokens, heard->reply->receipt.prompt_tokens);
    EXPECT_EQ(counted->image_tokens, heard->reply->receipt.image_tokens);
    EXPECT_EQ(counted->pictures[0].seen_width, heard->reply->pictures[0].seen_width);
    EXPECT_GT(counted->context_tokens, counted->prompt_tokens);
    question.messages[0].content[0].tensor->shape = {4096, 60'000, 60'000, 3};
    question.messages[0].content[0].min_pixels = 1 << 28;
    const auto huge = (*counter)->count(question);
    ASSERT_TRUE(huge) << huge.error().what;
    EXPECT_GT(huge->prompt_tokens, huge->context_tokens);
    question.messages[0].content[0].tensor->shape[0] = 4097;
    EXPECT_EQ((*counter)->count(question).error().code, Code::kBadRequest);
  }
}

// Positions depend on the time; pages that were computed for another one must not be taken.
TEST(ClipTimes, OfOtherFramesPerSecondAreOtherPages) {
  LoadedModel model{case_files("qwen2_5_vl/untied_hub_f32")};
  Asked asked = clip({8, 32, 32, 3});
  const auto media = [&](double fps) {
    asked.request.messages[0].content[0].fps = fps;
    const auto prepared = model.prepare(asked.request, asked.tensors);
    EXPECT_TRUE(prepared) << prepared.error().what;
    return static_cast<const decoder::MediaPrompt&>(**prepared).media;
  };
  const auto slow = media(1.0), fast = media(4.0);
  ASSERT_EQ(slow.size(), 4U);
  EXPECT_EQ(slow[0].content, fast[0].content);
  EXPECT_NE(slow[1].content, fast[1].content);
}

}  // namespace
}  // namespace hearth::language
