// Encode requests over the fake model: from a chat to tensors, whatever happens on the way.

#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

#include "models/fake/prompt.h"
#include "tests/unit/generate_for_test.h"
#include "tests/unit/model_files_for_test.h"

namespace hearth::fake {
namespace {

using generate::encode;
using generate::FakeBatch;
using generate::floats_in;
using generate::ids_in;
using generate::Running;

Config in_chunks_of(std::int32_t tokens) {
  Config config;
  config.prefill_chunk_tokens = tokens;
  return config;
}

// What a hidden state of these ids must hold.
std::vector<float> expected(std::int32_t state, const std::vector<std::int32_t>& ids, int columns) {
  std::vector<float> values;
  for (const std::int32_t id : ids)
    for (int column = 0; column < columns; ++column)
      values.push_back(static_cast<float>(state * 1000 + id) +
                       static_cast<float>(column) / 1024.0F);
  return values;
}

const std::vector<std::int32_t> kAbcIds = {kBegin, 'a', 'b', 'c', kEnd, kBegin};

TEST(FakeEncode, GivesTheLayersInTheOrderAskedFor) {
  FakeBatch batch(1);
  const Running run = batch.submit(encode("abc", {-1, 0, 2, -2, 2}));
  batch.finish();
  ASSERT_TRUE(run.heard->encoding) << run.heard->error->what;
  const auto& hidden = run.heard->encoding->hidden;
  ASSERT_EQ(hidden.size(), 5U);
  const std::int32_t states[] = {4, 0, 2, 3, 2};
  for (std::size_t i = 0; i < hidden.size(); ++i) {
    EXPECT_EQ(hidden[i].shape, (std::vector<std::int64_t>{6, 8}));
    EXPECT_EQ(floats_in(hidden[i]), expected(states[i], kAbcIds, 8));
  }
  EXPECT_EQ(run.heard->ends, 1);
}

TEST(FakeEncode, TheReplySaysWhatWasReadAndHowLongItTook) {
  FakeBatch batch(1, in_chunks_of(2));
  const Running run = batch.submit(encode("!wait prefill 2", {1}));
  batch.finish();
  ASSERT_TRUE(run.heard->encoding);
  const contract::Encoded& reply = run.heard->encoding->reply;
  EXPECT_EQ(ids_in(reply.prompt_token_ids).size(), 15U + 3U);
  EXPECT_TRUE(reply.tensors.empty());
  EXPECT_EQ(reply.receipt.prompt_tokens, 18U);
  EXPECT_EQ(reply.receipt.generated_tokens, 0U);
  EXPECT_EQ(reply.receipt.decode_ms, 0.0);
  EXPECT_EQ(reply.receipt.tokens_per_second, 0.0);
  EXPECT_GE(reply.receipt.prefill_ms, 9 * 2.0);
  EXPECT_EQ(reply.receipt.dtype, "float32");
  EXPECT_EQ(run.heard->stages, std::vector<std::string>{"prefill"});
}

TEST(FakeEncode, WithoutAGenerationPromptTheChatEndsWithItsLastTurn) {
  FakeBatch batch(1);
  contract::Encode request = encode("abc", {0});
  request.generation_prompt = false;
  const Running run = batch.submit(request);
  batch.finish();
  EXPECT_EQ(ids_in(run.heard->encoding->reply.prompt_token_ids),
            std::vector<std::int32_t>(kAbcIds.begin(), kAbcIds.end() - 1));
  EXPECT_EQ(run.heard->encoding->hidden[0].shape[0], 5);
}

TEST(FakeEncode, ChunksGiveWhatOneRunGives) {
  for (const std::int32_t chunk : {1, 2, 5, 6, 7}) {
    FakeBatch batch(1, in_chunks_of(chunk));
    const Running run = batch.submit(encode("abc", {3}));
    batch.finish();
    EXPECT_EQ(floats_in(run.heard->encoding->hidden[0]), expected(3, kAbcIds, 8)) << chunk;
  }
}

TEST(FakeEncode, AnAnswerGoesOnBetweenTheChunks) {
  FakeBatch batch(2, in_chunks_of(8));
  const Running answer = batch.submit(generate::chat("!count 100"));
  while (answer.heard->streamed.empty()) ASSERT_TRUE(batch.advance());
  const Running encoding = batch.submit(encode(std::string(100, 'x'), {1}));
  while (!encoding.heard->encoding) {
    const std::size_t before = answer.heard->streamed_ids.size();
    ASSERT_TRUE(batch.advance());
    EXPECT_EQ(answer.heard->streamed_ids.size(), before + 1);
  }
  EXPECT_FALSE(answer.heard->reply);
  batch.finish();
  EXPECT_TRUE(answer.heard->reply->text.ends_with("99 100"));
}

TEST(FakeEncode, MoreRequestsThanSlotsAllGetTheirOwn) {
  FakeBatch batch(2, in_chunks_of(3));
  std::vector<Running> runs;
  for (const char letter : {'p', 'q', 'r', 's', 't'})
    runs.push_back(batch.submit(encode(std::string(3, letter), {2})));
  batch.finish();
  for (std::int32_t i = 0; i < 5; ++i) {
    const std::int32_t letter = 'p' + i;
    EXPECT_EQ(floats_in(runs[static_cast<std::size_t>(i)].heard->encoding->hidden[0]),
              expected(2, {kBegin, letter, letter, letter, kEnd, kBegin}, 8));
  }
}

TEST(FakeEncode, TheScriptSetsTheColumns) {
  FakeBatch batch(1);
  const Running wide = batch.submit(encode("!hidden 70000", {4}));
  const Running narrow = batch.submit(encode("!hidden 0", {4}));
  batch.finish();
  const auto& tensor = wide.heard->encoding->hidden[0];
  EXPECT_EQ(tensor.shape[1], 70000);
  EXPECT_EQ(floats_in(tensor)[69999], 4000.0F + kBegin + 69999.0F / 1024.0F);
  EXPECT_EQ(narrow.heard->encoding->hidden[0].shape[1], 1);
}

// --- element types ---

struct TypeCase {
  const char* asked;
  DType dtype;
  std::vector<std::uint16_t> bits;  // of 2256 and 2256 + 1/1024, rounded
};

class FakeEncodeAs : public testing::TestWithParam<TypeCase> {};

TEST_P(FakeEncodeAs, RoundsToTheTypeAskedFor) {
  FakeBatch batch(1);
  contract::Encode request = encode("!hidden 2", {2});
  request.dtype = GetParam().asked;
  const Running run = batch.submit(request);
  batch.finish();
  ASSERT_TRUE(run.heard->encoding) << run.heard->error->what;
  const models::HostTensor& tensor = run.heard->encoding->hidden[0];
  EXPECT_EQ(tensor.dtype, GetParam().dtype);
  EXPECT_EQ(tensor.bytes.size(),
            static_cast<std::size_t>(tensor.shape[0] * 2) * item_bytes(tensor.dtype));
  std::vector<std::uint16_t> bits(GetParam().bits.size());
  std::memcpy(bits.data(), tensor.bytes.data(), bits.size() * sizeof(std::uint16_t));
  EXPECT_EQ(bits, GetParam().bits);
}

// 2256 is 0x450D0000 in f32: bf16 has eight bits of it and rounds to 2256 or beside it.
INSTANTIATE_TEST_SUITE_P(Types, FakeEncodeAs,
                         testing::Values(TypeCase{"model", DType::kF32, {0x0000, 0x450D}},
                                         TypeCase{"f32", DType::kF32, {0x0000, 0x450D}},
                                         TypeCase{"bf16", DType::kBF16, {0x450D, 0x450D}},
                                         TypeCase{"f16", DType::kF16, {0x6868, 0x6868}}),
                         [](const auto& info) { return std::string(info.param.asked); });

// --- refusals ---

TEST(FakeEncodeRefuses, ALayerOutOfRangeByNameAndRange) {
  for (const std::int32_t layer : {5, -6, 1024, -1024}) {
    const auto prompt = read_prompt(encode("abc", {0, layer}), {}, Config());
    ASSERT_FALSE(prompt) << layer;
    EXPECT_EQ(prompt.error().code, Code::kBadRequest);
    for (const std::string& word :
         {std::to_string(layer), std::string("0 to 4"), std::string("-5 to -1")})
      EXPECT_NE(prompt.error().what.find(word), std::string::npos) << prompt.error().what;
  }
  EXPECT_TRUE(read_prompt(encode("abc", {4, -5}), {}, Config()));
}

TEST(FakeEncodeRefuses, NoLayerAtAll) {
  EXPECT_EQ(read_prompt(encode("abc", {}), {}, Config()).error().code, Code::kBadRequest);
}

TEST(FakeEncodeRefuses, APromptBeyondTheContext) {
  Config small;
  small.context_tokens = 6;
  EXPECT_TRUE(read_prompt(encode("abc", {0}), {}, small));
  EXPECT_EQ(read_prompt(encode("abcd", {0}), {}, small).error().code, Code::kTooLong);
}

TEST(FakeEncodeRefuses, AResultBeyondWhatOneRequestHolds) {
  // 18 tokens of 16 MiB: seven hidden states are below 2 GiB, eight are beyond.
  const std::string text = "!hidden 4194304";
  EXPECT_TRUE(read_prompt(encode(text, std::vector<std::int32_t>(7, 0)), {}, Config()));
  const auto refused = read_prompt(encode(text, std::vector<std::int32_t>(8, 0)), {}, Config());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kOutOfMemory);
  EXPECT_NE(refused.error().what.find("2304 MiB"), std::string::npos) << refused.error().what;
}

// --- faults ---

class FakeEncodeFault : public testing::TestWithParam<const char*> {};

TEST_P(FakeEncodeFault, EndsTheRequestAloneAndFreesItsSlot) {
  FakeBatch batch(1, in_chunks_of(4));
  contract::Encode request = encode(std::string("long enough ") + GetParam(), {0, 3});
  const Running broken = batch.submit(request);
  const Running next = batch.submit(encode("abc", {0}));
  batch.finish();
  ASSERT_TRUE(broken.heard->error);
  const bool spoilt = GetParam()[1] == 'n' || GetParam()[1] == 'i';
  EXPECT_EQ(broken.heard->error->code, spoilt ? Code::kNotFinite : Code::kInternal);
  EXPECT_EQ(broken.heard->ends, 1);
  ASSERT_TRUE(next.heard->encoding);
  EXPECT_EQ(floats_in(next.heard->encoding->hidden[0]), expected(0, kAbcIds, 8));
}

INSTANTIATE_TEST_SUITE_P(Places, FakeEncodeFault,
                         testing::Values("!fail begin", "!fail prefill", "!nan prefill",
                                         "!inf prefill"));

TEST(FakeEncode, NotFiniteNamesTheStateInEveryType) {
  for (const char* dtype : {"f32", "bf16", "f16"}) {
    FakeBatch batch(1);
    contract::Encode request = encode("!inf prefill", {3});
    request.dtype = dtype;
    const Running run = batch.submit(request);
    batch.finish();
    ASSERT_TRUE(run.heard->error) << dtype;
    EXPECT_EQ(run.heard->error->code, Code::kNotFinite);
    EXPECT_NE(run.heard->error->what.find("3"), std::string::npos) << run.heard->error->what;
    EXPECT_NE(run.heard->error->what.find(dtype), std::string::npos) << run.heard->error->what;
  }
}

TEST(FakeEncode, ALostDeviceEndsEveryRequest) {
  FakeBatch batch(2);
  const Running lost = batch.submit(encode("!lost prefill", {0}));
  const Running other = batch.submit(encode(std::string(60, 'x'), {0}));
  Result<bool> advanced = true;
  for (int i = 0; i < 10 && advanced; ++i) advanced = batch.advance();
  EXPECT_FALSE(advanced);
  EXPECT_EQ(lost.heard->ends, 1);
  EXPECT_EQ(other.heard->ends, 1);
  EXPECT_TRUE(other.heard->error);
}

// --- cancelling ---

class FakeEncodeCancelled : public testing::TestWithParam<int> {};  // after so many advances

TEST_P(FakeEncodeCancelled, EndsOnceAndFreesTheSlot) {
  FakeBatch batch(1, in_chunks_of(4));
  const Running run = batch.submit(encode(std::string(40, 'x'), {1}));
  for (int i = 0; i < GetParam(); ++i) ASSERT_TRUE(batch.advance());
  run.job->cancelled.store(true);
  ASSERT_TRUE(batch.advance());
  ASSERT_TRUE(run.heard->error);
  EXPECT_EQ(run.heard->error->code, Code::kCancelled);
  const Running next = batch.submit(encode("abc", {1}));
  batch.finish();
  EXPECT_EQ(floats_in(next.heard->encoding->hidden[0]), expected(1, kAbcIds, 8));
  EXPECT_EQ(run.heard->ends, 1);
}

INSTANTIATE_TEST_SUITE_P(QueuedBegunPrefill, FakeEncodeCancelled, testing::Values(0, 1, 2, 9));

// --- the model as the worker sees it ---

struct FakeModelEncodes : testing::Test {
  FakeModelEncodes() {
    [[maybe_unused]] static const bool served = (models::serve_test_families(), true);
    auto loaded =
        models::load({models::file_with("config.json", R"({"model_type": "hearth_fake"})")}, {});
    EXPECT_TRUE(loaded);
    model = *std::move(loaded);
  }
  std::shared_ptr<models::Model> model;
  models::Job job{1};
  std::vector<std::byte> pixels;
};

TEST_F(FakeModelEncodes, AChatWithAPicture) {
  contract::Encode request = encode("?", {1});
  contract::ContentPart picture;
  picture.kind = "image";
  picture.tensor.emplace();
  request.messages[0].content.push_back(picture);
  pixels.resize(std::size_t{48} * 64 * 3);
  const TensorView view{DType::kU8, {48, 64, 3}, pixels};
  ASSERT_NE(model->encodes(), nullptr);
  auto prompt = model->encodes()->prepare(request, {&view, 1}, job);
  ASSERT_TRUE(prompt) << prompt.error().what;
  const auto on = models::EngineThreadForTest::on_engine();
  const auto heard = std::make_shared<generate::Recorder>();
  model->submit(on, std::make_shared<models::Job>(2), *std::move(prompt), heard);
  for (int i = 0; i < 100 && heard->ends == 0; ++i) ASSERT_TRUE(model->advance(on));
  ASSERT_TRUE(heard->encoding);
  EXPECT_EQ(floats_in(heard->encoding->hidden[0]),
            expected(1, {kBegin, '?', kPicture, kPicture, kPicture, kEnd, kBegin}, 8));
  EXPECT_EQ(heard->encoding->reply.receipt.image_tokens, 3U);
  EXPECT_EQ(heard->stages, (std::vector<std::string>{"vision", "prefill"}));
}

TEST_F(FakeModelEncodes, NothingOnceItIsCancelled) {
  job.cancelled = true;
  const auto prepared = model->encodes()->prepare(encode("!wait prepare 60000", {0}), {}, job);
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, Code::kCancelled);
}

TEST_F(FakeModelEncodes, NothingWhenToldToFailWhilePreparing) {
  EXPECT_THROW((void)model->encodes()->prepare(encode("!fail prepare", {0}), {}, job),
               std::runtime_error);
}

}  // namespace
}  // namespace hearth::fake
