// Hidden states of whole chats to the tiny checkpoints: transformers' hidden_states.
#include <algorithm>
#include <tuple>

#include "models/torch/tensors.h"
#include "tests/unit/engine_qwen_for_test.h"
#include "tests/unit/engine_requests_for_test.h"

namespace hearth::language {
namespace {

using generate::floats_in;
using generate::ids_in;
using models::ask;
using models::encode;
using models::LoadedModel;
using models::plain_picture;
using models::StoredPicture;
using testing::Combine;
using testing::Values;
using testing::ValuesIn;

constexpr const char* kEncoded[] = {"text", "one", "many", "long"};

Oracle read_states(const std::string& name) {
  return {case_folder("").parent_path().parent_path() / "hidden_states", name + ".safetensors"};
}

// A chat of tests/fixtures/make_hidden_fixtures.py.
struct Turn {
  contract::Generate chat;
  std::vector<StoredPicture> pictures;
};

// Text of almost a prefill chunk, then a picture on both sides of its end.
Turn long_turn(std::int64_t patch_size) {
  Turn turn{ask("And this?", 1), {plain_picture(8 * patch_size, 8 * patch_size)}};
  std::string text;
  for (int i = 0; i < 31; ++i) text += "0123456789abcdef";
  auto& content = turn.chat.messages[0].content;
  content.insert(content.begin(), generate::chat(text).messages[0].content[0]);
  return turn;
}

Turn turn_of(const Oracle& oracle, const std::string& case_name, const std::string& input) {
  if (input == "long") return long_turn(case_name == "biased_bf16" ? 16 : 8);
  Turn turn;
  for (std::size_t i = 0; oracle.has(input + ".picture." + std::to_string(i)); ++i) {
    const std::string name = input + ".picture." + std::to_string(i);
    turn.pictures.push_back({oracle.shape(name), oracle.bytes(name)});
  }
  const char* text = input == "text"  ? "Say: naïve 漢 🙂\n\n 12"
                     : input == "one" ? "What is here?"
                                      : "And these <|image_pad|>?";
  turn.chat = ask(text, turn.pictures.size());
  return turn;
}

std::vector<float> rows_of(const models::HostTensor& tensor, const std::vector<std::int32_t>& rows,
                           std::span<const float> values) {
  const auto width = static_cast<std::size_t>(tensor.shape[1]);
  std::vector<float> chosen;
  for (const std::int32_t row : rows) {
    const auto part = values.subspan(static_cast<std::size_t>(row) * width, width);
    chosen.insert(chosen.end(), part.begin(), part.end());
  }
  return chosen;
}

std::vector<float> widened(const models::HostTensor& tensor) {
  std::vector<std::byte> bytes(tensor.bytes.begin(), tensor.bytes.end());
  return engine::to_floats(engine::rows_in(bytes, tensor.dtype, tensor.shape[0]));
}

// --- against transformers ---

struct Encoded : testing::TestWithParam<std::tuple<const char*, const char*, double>> {
  const std::string name = std::get<0>(GetParam());
  const std::string input = std::get<1>(GetParam());
  const double tolerance = std::get<2>(GetParam());
  const Oracle oracle{name};
  const Oracle states = read_states(name);
  const Turn turn = turn_of(oracle, name, input);
  const std::vector<std::int32_t> rows = states.integers(input + ".rows");

  std::string state(std::int32_t index) const { return input + ".state." + std::to_string(index); }
  std::int32_t count() const {
    std::int32_t states_there = 0;
    while (states.has(state(states_there))) ++states_there;
    return states_there;
  }
  std::vector<std::int32_t> ids() const {
    return input == "long" ? states.integers("long.ids") : oracle.integers(input + ".ids");
  }
};

std::string name_of_encoded(const testing::TestParamInfo<Encoded::ParamType>& info) {
  return std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param);
}

struct EncodedFloat32 : Encoded {};

TEST_P(EncodedFloat32, EveryHiddenStateIsTransformers) {
  LoadedModel model(case_files(name));
  std::vector<std::int32_t> layers;
  for (std::int32_t i = 0; i < count(); ++i) layers.insert(layers.end(), {i, i - count()});
  const auto heard = model.answer(encode(turn.chat, layers), turn.pictures);
  ASSERT_TRUE(heard->encoding) << heard->error->what;
  EXPECT_EQ(ids_in(heard->encoding->reply.prompt_token_ids), ids());
  ASSERT_EQ(heard->encoding->hidden.size(), layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const models::HostTensor& tensor = heard->encoding->hidden[i];
    const std::int32_t index = static_cast<std::int32_t>(i / 2);
    ASSERT_EQ(tensor.shape, (std::vector<std::int64_t>{static_cast<std::int64_t>(ids().size()),
                                                       states.shape(state(index))[1]}));
    EXPECT_LE(max_difference(rows_of(tensor, rows, floats_in(tensor)), states.floats(state(index))),
              tolerance)
        << "layer " << layers[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Qwen3Vl, EncodedFloat32,
                         Combine(ValuesIn(kCases), ValuesIn(kEncoded), Values(1e-4)),
                         name_of_encoded);

struct EncodedBfloat16 : Encoded {};

TEST_P(EncodedBfloat16, IsAsCloseToFp32AsTransformersIs) {
  LoadedModel model(case_files(name), "bfloat16");
  std::vector<std::int32_t> layers;
  for (std::int32_t i = 0; i < count(); ++i) layers.push_back(i);
  const auto heard = model.answer(encode(turn.chat, layers), turn.pictures);
  ASSERT_TRUE(heard->encoding) << heard->error->what;
  for (std::int32_t i = 0; i < count(); ++i) {
    const models::HostTensor& tensor = heard->encoding->hidden[static_cast<std::size_t>(i)];
    EXPECT_EQ(tensor.dtype, DType::kBF16);
    const std::vector<float> made = rows_of(tensor, rows, widened(tensor));
    const double factor = tolerance;
    EXPECT_LE(relative_difference(made, states.floats(state(i))),
              factor * states.floats(input + ".bf16_error." + std::to_string(i))[0])
        << "layer " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Qwen3Vl, EncodedBfloat16,
                         Combine(ValuesIn(kCases), ValuesIn(kEncoded), Values(1.5)),
                         name_of_encoded);

// --- defined behaviour ---

struct Encoding : testing::Test {
  LoadedModel model{case_files("tied_bf16")};
  const StoredPicture picture = plain_picture(48, 32);

  std::vector<models::HostTensor> states(const contract::Encode& request,
                                         const std::vector<StoredPicture>& pictures = {}) {
    const auto heard = model.answer(request, pictures);
    EXPECT_TRUE(heard->encoding) << heard->error->what;
    return heard->encoding->hidden;
  }
};

TEST_F(Encoding, LayersComeInTheOrderAskedForAndMayRepeat) {
  const auto together = states(encode(ask("What is here?", 1), {3, -1, 0, 3}), {picture});
  ASSERT_EQ(together.size(), 4U);
  const std::int32_t layers[] = {3, 4, 0, 3};
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_EQ(floats_in(together[i]),
              floats_in(states(encode(ask("What is here?", 1), {layers[i]}), {picture})[0]));
}

TEST_F(Encoding, EveryTypeIsTheModelsOwnRoundedOnce) {
  contract::Encode request = encode(ask("What is here?", 1), {0, 2, -1});
  const auto exact = states(request, {picture});
  for (const auto& [name, dtype] : {std::pair("f16", DType::kF16), std::pair("bf16", DType::kBF16),
                                    std::pair("f32", DType::kF32)}) {
    request.dtype = name;
    const auto made = states(request, {picture});
    for (std::size_t i = 0; i < made.size(); ++i) {
      ASSERT_EQ(made[i].dtype, dtype);
      const at::Tensor rounded =
          engine::from_floats(floats_in(exact[i]), exact[i].shape).to(engine::scalar_type(dtype));
      EXPECT_EQ(widened(made[i]), engine::to_floats(rounded)) << name << " of tensor " << i;
    }
  }
}

TEST_F(Encoding, WithoutAGenerationPromptTheAssistantsHeaderIsMissing) {
  contract::Encode request = encode(ask("What is here?", 1), {-1});
  const auto with = model.answer(request, {picture});
  request.generation_prompt = false;
  const auto without = model.answer(request, {picture});
  const auto all = ids_in(with->encoding->reply.prompt_token_ids);
  const auto fewer = ids_in(without->encoding->reply.prompt_token_ids);
  ASSERT_EQ(all.size(), fewer.size() + 11);  // <|im_start|>, nine letters, line feed
  EXPECT_TRUE(std::equal(fewer.begin(), fewer.end(), all.begin()));
  // A token sees only those before it, so its hidden state stays what it was.
  const std::vector<float> values = floats_in(without->encoding->hidden[0]);
  const std::vector<float> longer = floats_in(with->encoding->hidden[0]);
  EXPECT_LE(max_difference(values, std::span(longer).first(values.size())), 1e-5);
}

TEST_F(Encoding, TheReceiptTellsStagesAndTokens) {
  const auto heard = model.answer(encode(ask("What is here?", 1), {1}), {picture});
  const contract::Encoded& reply = heard->encoding->reply;
  EXPECT_EQ(reply.receipt.prompt_tokens, ids_in(reply.prompt_token_ids).size());
  EXPECT_EQ(reply.receipt.image_tokens, 6U);
  EXPECT_EQ(reply.receipt.generated_tokens, 0U);
  EXPECT_EQ(reply.receipt.decode_ms, 0.0);
  EXPECT_GT(reply.receipt.preprocess_ms, 0.0);
  EXPECT_GT(reply.receipt.vision_ms, 0.0);
  EXPECT_GT(reply.receipt.prefill_ms, 0.0);
  EXPECT_EQ(reply.receipt.dtype, "float32");
  EXPECT_EQ(heard->stages, (std::vector<std::string>{"vision", "prefill"}));
  EXPECT_EQ(reply.warnings.size(), 1U);  // these checkpoints have no chat template
}

TEST_F(Encoding, AnAnswerBesideItKeepsItsWordsAndItsPace) {
  const contract::Generate question = ask("What is here?", 1);
  const auto alone = model.answer(question, {picture});
  const Turn turn = long_turn(8);
  const auto expected = states(encode(turn.chat, {2, -1}), turn.pictures);

  const auto answering = model.submit(question, {picture});
  while (answering->streamed_ids.size() < 3) ASSERT_TRUE(model.advance());
  const auto encoding = model.submit(encode(turn.chat, {2, -1}), turn.pictures);
  while (encoding->ends == 0) {
    const std::size_t before = answering->streamed_ids.size();
    ASSERT_TRUE(model.advance());
    EXPECT_EQ(answering->streamed_ids.size(), before + 1);
  }
  EXPECT_EQ(answering->ends, 0);
  model.finish();
  EXPECT_EQ(answering->reply->token_ids, alone->reply->token_ids);
  // Its chunks are shorter in company: sums are cut elsewhere.
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_LE(max_difference(floats_in(encoding->encoding->hidden[i]), floats_in(expected[i])),
              1e-4);
}

TEST_F(Encoding, LeavesItsSlotAsGoodAsNew) {
  const contract::Generate question = ask("What is here?", 1);
  const auto before = model.answer(question, {picture});
  // Layer 0 alone: the caches behind it are not written.
  states(encode(long_turn(8).chat, {0}), long_turn(8).pictures);
  states(encode(long_turn(8).chat, {0}), long_turn(8).pictures);
  EXPECT_EQ(model.answer(question, {picture})->reply->token_ids, before->reply->token_ids);
}

TEST_F(Encoding, CancelledBetweenItsChunksGivesNothing) {
  const Turn turn = long_turn(8);
  const auto heard = model.submit(encode(turn.chat, {1}), turn.pictures);
  // Until the first of two chunks is done.
  while (heard->stages.empty() || heard->stages.back() != "prefill") ASSERT_TRUE(model.advance());
  ASSERT_EQ(heard->ends, 0);
  model.job->cancelled = true;
  model.finish();
  ASSERT_TRUE(heard->error);
  EXPECT_EQ(heard->error->code, Code::kCancelled);
  EXPECT_FALSE(heard->encoding);
}

TEST_F(Encoding, ALayerThatIsNotThereIsRefusedByNameAndRange) {
  for (const std::int32_t layer : {5, -6}) {
    const auto prepared = model.prepare(encode(ask("?"), {0, layer}));
    ASSERT_FALSE(prepared);
    EXPECT_EQ(prepared.error().code, Code::kBadRequest);
    for (const std::string& word : {std::to_string(layer), std::string("0 to 4")})
      EXPECT_NE(prepared.error().what.find(word), std::string::npos) << prepared.error().what;
  }
}

TEST_F(Encoding, APromptBeyondTheContextIsTooLong) {
  const auto prepared = model.prepare(encode(ask(std::string(1024, 'x')), {0}));
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, Code::kTooLong);
}

TEST_F(Encoding, BadPicturesAndPixelLimitsAreJudgedAsForAnswers) {
  EXPECT_EQ(model.prepare(encode(ask("?", 1), {0}), {plain_picture(1, 201)}).error().code,
            Code::kBadPicture);
  EXPECT_EQ(model.prepare(encode(ask("?", 1), {0}), {}).error().code, Code::kBadRequest);
  contract::Encode request = encode(ask("?", 1), {0});
  request.max_pixels = 1024;
  const auto prepared = model.prepare(request, {plain_picture(64, 64)});
  ASSERT_TRUE(prepared) << prepared.error().what;
  EXPECT_EQ(static_cast<const decoder::MediaPrompt&>(**prepared).image_tokens, 4U);
}

}  // namespace
}  // namespace hearth::language
