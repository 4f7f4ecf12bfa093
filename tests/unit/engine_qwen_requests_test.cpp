// Whole requests to the tiny checkpoints: from pictures and words to tokens.
#include <algorithm>
#include <tuple>

#include "tests/unit/engine_qwen_for_test.h"
#include "tests/unit/engine_requests_for_test.h"

namespace hearth::language {
namespace {

using models::ask;
using models::LoadedModel;
using models::plain_picture;
using models::StoredPicture;
using testing::Combine;
using testing::Values;
using testing::ValuesIn;

// As tests/fixtures has them.
std::string text_of(const std::string& input) {
  const std::string line =
      "The quick brown fox 0123456789 jumps over\nthe lazy dog; naïve 漢字 🙂! ";
  if (input == "text") return "Say: naïve 漢 🙂\n\n 12";
  if (input == "short") return "";
  if (input == "long") return line + line;
  return input == "one" ? "What is here?" : "And these <|image_pad|>?";
}

std::vector<StoredPicture> pictures_of(const Oracle& oracle, const std::string& input) {
  std::vector<StoredPicture> pictures;
  for (std::size_t i = 0;; ++i) {
    const std::string name = input + ".picture." + std::to_string(i);
    if (!oracle.has(name)) return pictures;
    pictures.push_back({oracle.shape(name), oracle.bytes(name)});
  }
}

// --- requests whose answer transformers gave ---

struct Request : testing::TestWithParam<std::tuple<const char*, const char*>> {
  const std::string input_name = std::get<1>(GetParam());
  const Oracle oracle{std::get<0>(GetParam())};
  LoadedModel model{case_files(std::get<0>(GetParam()))};
  const std::vector<StoredPicture> pictures = pictures_of(oracle, input_name);
  const contract::Generate request = ask(text_of(input_name), pictures.size());
};

TEST_P(Request, PromptIsTransformers) {
  const auto prepared = model.prepare(request, pictures);
  ASSERT_TRUE(prepared) << prepared.error().what;
  const auto& prompt = static_cast<const decoder::MediaPrompt&>(**prepared);
  EXPECT_EQ(prompt.ids, oracle.integers(input_name + ".ids"));
  EXPECT_EQ(prompt.positions, oracle.integers(input_name + ".positions"));
  EXPECT_EQ(prompt.position_delta, oracle.integers(input_name + ".delta")[0]);
}

TEST_P(Request, PicturesAreTransformers) {
  const auto prepared = model.prepare(request, pictures);
  ASSERT_TRUE(prepared) << prepared.error().what;
  const auto& prompt = static_cast<const decoder::MediaPrompt&>(**prepared);
  ASSERT_EQ(prompt.pictures.size(), pictures.size());
  for (std::size_t i = 0; i < prompt.pictures.size(); ++i) {
    const image::Still expected = read_still(oracle, input_name, i);
    EXPECT_EQ(prompt.pictures[i].grid_height, expected.grid_height);
    EXPECT_EQ(prompt.pictures[i].grid_width, expected.grid_width);
    EXPECT_EQ(prompt.pictures[i].picture.size, expected.picture.size);
    EXPECT_EQ(prompt.pictures[i].picture.pixels, expected.picture.pixels) << i;
  }
}

TEST_P(Request, AnswerIsTransformers) {
  const auto heard = model.answer(request, pictures);
  ASSERT_TRUE(heard->reply) << heard->error->what;
  const std::vector<std::int32_t> expected = oracle.integers(input_name + ".greedy");
  const std::vector<std::int32_t> ids = generate::ids_in(heard->reply->token_ids);
  // transformers was told of no end token; the model's own may end the answer before.
  ASSERT_LE(ids.size(), expected.size());
  EXPECT_TRUE(std::equal(ids.begin(), ids.end(), expected.begin()));
  const auto prepared = model.prepare(request, pictures);
  const auto& ends = static_cast<const decoder::MediaPrompt&>(**prepared).end_ids;
  const bool ended = std::find(ends.begin(), ends.end(), ids.back()) != ends.end();
  EXPECT_EQ(heard->reply->stop_reason, ended ? "end_token" : "max_tokens");
  EXPECT_TRUE(ended || ids.size() == 64U);
  EXPECT_EQ(heard->reply->receipt.prompt_tokens, oracle.integers(input_name + ".ids").size());
}

std::string name_of(const testing::TestParamInfo<std::tuple<const char*, const char*>>& info) {
  std::string name = std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param);
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Qwen3Vl, Request, Combine(ValuesIn(kCases), ValuesIn(kInputs)), name_of);
INSTANTIATE_TEST_SUITE_P(Qwen25Vl, Request,
                         Combine(Values("qwen2_5_vl/tied_bf16", "qwen2_5_vl/untied_hub_f32"),
                                 Values("text", "one", "two")),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Qwen3VlMoe, Request,
                         Combine(Values("qwen3_vl_moe/hub_bf16"), Values("text", "one", "two")),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Qwen35, Request,
                         Combine(Values("qwen3_5/tied_bf16"), Values("text", "long", "one", "two")),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Qwen35Untied, Request,
                         Combine(Values("qwen3_5/untied_f32"), Values("text", "long", "two")),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Qwen35Moe, Request,
                         Combine(Values("qwen3_5_moe/fused_bf16", "qwen3_5_moe/experts_f32"),
                                 Values("text", "one")),
                         name_of);
INSTANTIATE_TEST_SUITE_P(QwenTextMoe, Request,
                         Combine(Values("qwen3_moe/experts_bf16", "qwen3_moe/mixed_f32"),
                                 Values("text", "short", "long")),
                         name_of);
INSTANTIATE_TEST_SUITE_P(QwenText, Request,
                         Combine(Values("qwen2/tied_bf16", "qwen2/untied_f32", "qwen3/tied_bf16",
                                        "qwen3/untied_f32"),
                                 Values("text", "short", "long")),
                         name_of);

// --- defined answers ---

struct Answers : testing::Test {
  LoadedModel model{case_files("shallow_bf16")};

  Code refused(const contract::Generate& request, const std::vector<StoredPicture>& pictures = {}) {
    const auto prepared = model.prepare(request, pictures);
    EXPECT_FALSE(prepared);
    if (prepared) return Code::kInternal;
    message = prepared.error().what;
    return prepared.error().code;
  }
  std::string message;
};

TEST_F(Answers, ALiteralPlaceholderIsPlainText) {
  const auto prepared = model.prepare(ask("a <|image_pad|> b"));
  ASSERT_TRUE(prepared);
  const auto& prompt = static_cast<const decoder::MediaPrompt&>(**prepared);
  EXPECT_EQ(prompt.image_tokens, 0U);
  EXPECT_TRUE(prompt.pictures.empty());
}

TEST_F(Answers, BadPicturesAreNamed) {
  EXPECT_EQ(refused(ask("?", 2), {plain_picture(32, 32), plain_picture(0, 32)}), Code::kBadPicture);
  EXPECT_NE(message.find("picture 2"), std::string::npos) << message;
  EXPECT_EQ(refused(ask("?", 1), {plain_picture(1, 201)}), Code::kBadPicture);
  EXPECT_EQ(refused(ask("?", 1), {plain_picture(32, 32, 2)}), Code::kBadPicture);
  EXPECT_EQ(refused(ask("?", 1), {{{32, 32}, std::vector<std::uint8_t>(32 * 32)}}),
            Code::kBadPicture);
}

TEST_F(Answers, GrayAndTransparentPicturesAreRead) {
  EXPECT_TRUE(model.prepare(ask("?", 1), {plain_picture(32, 32, 1)}));
  EXPECT_TRUE(model.prepare(ask("?", 1), {plain_picture(32, 32, 4)}));
}

TEST_F(Answers, PicturesMissingFromTheMessagesAreRefused) {
  EXPECT_EQ(refused(ask("?", 1), {}), Code::kBadRequest);
  EXPECT_EQ(refused(ask("?", 0), {plain_picture(32, 32)}), Code::kBadRequest);
}

TEST_F(Answers, PromptAndAnswerBeyondTheContextAreTooLong) {
  contract::Generate request = ask("short");
  request.max_tokens = 1024;
  EXPECT_EQ(refused(request), Code::kTooLong);
  EXPECT_NE(message.find("1024"), std::string::npos) << message;
}

TEST_F(Answers, ManyPicturesAreTooLongBeforeAnyIsRead) {
  // 16 tokens each; not one of them has its pixels.
  const StoredPicture hollow{{64, 64, 3}, {}};
  EXPECT_EQ(refused(ask("?", 100), std::vector<StoredPicture>(100, hollow)), Code::kTooLong);
}

TEST_F(Answers, AnEmptyStopStringIsRefused) {
  contract::Generate request = ask("?");
  request.stop = {""};
  EXPECT_EQ(refused(request), Code::kBadRequest);
}

TEST_F(Answers, PixelLimitsOfTheRequestCount) {
  const auto tokens = [&](std::int64_t min, std::int64_t max) {
    contract::Generate request = ask("?", 1);
    request.min_pixels = min;
    request.max_pixels = max;
    const auto prepared = model.prepare(request, {plain_picture(64, 64)});
    EXPECT_TRUE(prepared) << prepared.error().what;
    return prepared ? static_cast<const decoder::MediaPrompt&>(**prepared).image_tokens : 0;
  };
  EXPECT_EQ(tokens(0, 0), 16U);  // the model's own: one token is 16 x 16 pixels
  EXPECT_EQ(tokens(0, 1024), 4U);
  EXPECT_EQ(tokens(128 * 128, 0), 64U);
  contract::Generate request = ask("?", 1);
  request.min_pixels = 2048;
  request.max_pixels = 1024;
  EXPECT_EQ(refused(request, {plain_picture(64, 64)}), Code::kBadRequest);
}

TEST_F(Answers, ACancelledRequestIsNotPrepared) {
  models::Job job(1);
  job.cancelled = true;
  const StoredPicture picture = plain_picture(32, 32);
  const TensorView view = picture.view();
  const auto prepared = model.model().generates()->prepare(ask("?", 1), {&view, 1}, job);
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, Code::kCancelled);
}

TEST_F(Answers, ModelDefaultsComeFromItsGenerationConfig) {
  contract::Generate request = ask("?");
  request.model_defaults = true;
  const auto prepared = model.prepare(request);
  ASSERT_TRUE(prepared);
  const auto& prompt = static_cast<const decoder::MediaPrompt&>(**prepared);
  EXPECT_DOUBLE_EQ(prompt.sampling.temperature, 0.7);
  EXPECT_EQ(prompt.sampling.top_k, 20);
  EXPECT_EQ(prompt.end_ids.size(), 2U);
}

TEST_F(Answers, AMissingChatTemplateIsAWarning) {
  const auto heard = model.answer(ask("?"));
  ASSERT_TRUE(heard->reply);
  ASSERT_EQ(heard->reply->warnings.size(), 1U);
}

TEST_F(Answers, MoreRequestsThanSlotsAllGetTheirOwnAnswer) {
  const StoredPicture picture = plain_picture(48, 32);
  const auto alone = model.answer(ask("What is here?", 1), {picture});
  std::vector<std::shared_ptr<generate::Recorder>> heard;
  for (int i = 0; i < 5; ++i) {
    heard.push_back(model.submit(ask("What is here?", 1), {picture}));
    heard.push_back(model.submit(ask("Say " + std::to_string(i))));
  }
  model.finish();
  for (std::size_t i = 0; i < heard.size(); i += 2) {
    ASSERT_TRUE(heard[i]->reply);
    EXPECT_EQ(heard[i]->reply->token_ids, alone->reply->token_ids);
  }
}

TEST_F(Answers, TheSameSeedGivesTheSameWordsInAnyCompany) {
  contract::Generate request = ask("Sing");
  request.temperature = 1.0;
  request.seed = 7;
  const auto alone = model.answer(request);
  contract::Generate other = request;
  other.seed = 8;
  const auto first = model.submit(other);
  const auto second = model.submit(request);
  model.finish();
  EXPECT_EQ(second->reply->token_ids, alone->reply->token_ids);
  EXPECT_NE(first->reply->token_ids, alone->reply->token_ids);
}

TEST(Types, TheReceiptNamesThem) {
  for (const char* dtype : {"float32", "bfloat16"}) {
    LoadedModel model(case_files("shallow_bf16"), dtype);
    EXPECT_EQ(model.model().dtype(), dtype);
    EXPECT_EQ(model.answer(ask("?"))->reply->receipt.dtype, dtype);
  }
  EXPECT_EQ(LoadedModel(case_files("shallow_bf16"), "auto").model().dtype(), "bfloat16");
  EXPECT_EQ(LoadedModel(case_files("untied_shards_f32"), "auto").model().dtype(), "float32");
}

}  // namespace
}  // namespace hearth::language
