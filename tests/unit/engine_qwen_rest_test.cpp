// A model that leaves its device and comes back gives what it gave before, and no operation runs
// before its weights are there.

#include "models/language/model.h"
#include "models/qwen3_5/family.h"
#include "models/qwen3_vl/family.h"
#include "tests/unit/engine_requests_for_test.h"
#include "tests/unit/evictable_for_test.h"
#include "tests/unit/folder_for_test.h"

namespace hearth::language {
namespace {

using decoder::EvictableMemory;
using models::ask;
using models::LoadedModel;
using models::StoredPicture;

const models::OnEngine kOnEngine = models::EngineThreadForTest::on_engine();
const char* const kQuestion =
    "What is to be seen in this picture, and what is there in all the others that were not sent?";

// Cases are named family/case; those of qwen3_vl by the case alone.
models::ModelFiles case_files(const std::string& name) {
  auto files =
      models::open_folder(std::filesystem::path(HEARTH_SOURCE_DIR) / "tests" / "data" /
                          (name.find('/') == std::string::npos ? "qwen3_vl/" + name : name));
  std::erase_if(files, [](const auto& file) { return file.label == "oracle.safetensors"; });
  return files;
}

std::shared_ptr<models::Model> load_on(std::unique_ptr<decoder::DeviceMemory> memory,
                                       const std::string& name, const std::string& dtype) {
  const models::ModelFiles files = case_files(name);
  models::LoadOptions options;
  options.dtype = dtype;
  options.slots = 2;
  const auto index = files::WeightIndex::read(files);
  if (!index) throw std::runtime_error(index.error().what);
  const FamilyRules& family = name.starts_with("qwen3_5") ? qwen3_5::rules() : qwen3_vl::rules();
  auto model = load_model(files, *index, family, options, std::move(memory));
  if (!model) throw std::runtime_error(model.error().what);
  return *std::move(model);
}

// Checkpoint and dtype.
struct Rest : testing::TestWithParam<std::pair<const char*, const char*>> {
  std::shared_ptr<EvictableMemory::Account> device = std::make_shared<EvictableMemory::Account>();
  LoadedModel model{
      load_on(std::make_unique<EvictableMemory>(device), GetParam().first, GetParam().second)};
  models::Rests& rests = *model.model().rests();
  const StoredPicture picture = models::plain_picture(64, 64, 3, 77);

  std::shared_ptr<generate::Recorder> asked() { return model.answer(ask(kQuestion, 1), {picture}); }
  std::string answer() {
    const auto heard = asked();
    if (heard->error) ADD_FAILURE() << heard->error->what;
    return heard->reply ? heard->reply->token_ids : "";
  }
  std::vector<std::byte> hidden() {
    const auto heard = model.answer(models::encode(ask(kQuestion, 1), {0, 1, -1}), {picture});
    std::vector<std::byte> bytes;
    if (!heard->encoding) return bytes;
    for (const models::HostTensor& each : heard->encoding->hidden)
      bytes.insert(bytes.end(), each.bytes.begin(), each.bytes.end());
    return bytes;
  }
  void rest() {
    const auto kept = rests.keep_image();
    ASSERT_TRUE(kept) << kept.error().what;
    const auto rested = rests.rest(kOnEngine);
    ASSERT_TRUE(rested) << rested.error().what;
  }
  void restore() {
    const auto restored = rests.restore(kOnEngine);
    ASSERT_TRUE(restored) << restored.error().what;
  }
};

TEST_P(Rest, GivesTheSameAnswersAfterwardsBitForBit) {
  const std::string before = answer();
  const std::vector<std::byte> states = hidden();
  ASSERT_FALSE(states.empty());
  rest();
  EXPECT_EQ(device->device_bytes, 0U);
  restore();
  EXPECT_EQ(answer(), before);
  EXPECT_EQ(hidden(), states);
}

TEST_P(Rest, ReplaysTheGraphsThatWereCapturedBefore) {
  rest();
  restore();
  const int replays = device->replays;
  answer();
  EXPECT_GT(device->replays, replays + 10);
}

TEST_P(Rest, ForgetsWhatWasCached) {
  answer();
  rest();
  restore();
  for (const auto& cache : model.model().caches(kOnEngine)) EXPECT_EQ(cache.entries, 0U);
  const auto again = asked();
  EXPECT_EQ(again->reply->receipt.cached_tokens, 0U);
  EXPECT_EQ(again->reply->receipt.cached_pictures, 0U);
}

TEST_P(Rest, CopiesItsWeightsToTheHostOnce) {
  rest();
  const std::uint64_t bytes = device->saved_bytes;
  EXPECT_GT(bytes, 0U);
  EXPECT_EQ(rests.image_bytes(), bytes);
  restore();
  EXPECT_EQ(*rests.keep_image(), 0U);
  rest();
  EXPECT_EQ(device->saved_bytes, bytes);
}

TEST_P(Rest, TwentyTimesLeavesNothingBehind) {
  const std::string before = answer();
  const std::uint64_t device_bytes = device->device_bytes;
  rest();
  const std::uint64_t pinned_bytes = device->pinned_bytes;
  for (int i = 0; i < 20; ++i) {
    restore();
    ASSERT_EQ(device->device_bytes, device_bytes);
    if (i % 5 == 0) {
      EXPECT_EQ(answer(), before);
    }
    rest();
    ASSERT_EQ(device->device_bytes, 0U);
    ASSERT_EQ(device->pinned_bytes, pinned_bytes);
  }
  restore();
  ASSERT_TRUE(rests.drop_image());
  EXPECT_EQ(device->pinned_bytes, 0U);
  EXPECT_EQ(answer(), before);
}

// The check of all the others: without waiting they would fail.
TEST_P(Rest, AnOperationBeforeItsWeightsAreThereIsSeen) {
  const std::string before = answer();
  rest();
  device->deaf = true;
  restore();
  const auto heard = asked();
  EXPECT_TRUE(heard->error || heard->reply->token_ids != before);
}

TEST_P(Rest, ComputesWhileTheLastWeightsAreStillOnTheirWay) {
  const std::string before = answer();
  rest();
  restore();
  EXPECT_EQ(device->arrived_bytes, 0U);
  const auto heard = model.submit(ask(kQuestion, 1), {picture});
  ASSERT_TRUE(model.advance());  // the picture
  EXPECT_GT(device->arrived_bytes, 0U);
  EXPECT_LT(device->arrived_bytes, device->saved_bytes);
  model.finish();
  EXPECT_EQ(heard->reply->token_ids, before);
}

// A few words go through the step's kernels and not through prefill's.
TEST_P(Rest, AShortPromptWaitsForItsWeightsToo) {
  const auto before = model.answer(ask("Hi"));
  rest();
  restore();
  const auto after = model.answer(ask("Hi"));
  ASSERT_TRUE(after->reply) << after->error->what;
  EXPECT_EQ(after->reply->token_ids, before->reply->token_ids);
}

TEST_P(Rest, IsRefusedWhileARequestIsOpen) {
  const std::string before = answer();
  model.user = 1001;  // who finds nothing cached
  const auto heard = model.submit(ask(kQuestion, 1), {picture});
  ASSERT_TRUE(rests.keep_image());
  const auto queued = rests.rest(kOnEngine);
  ASSERT_FALSE(queued);
  EXPECT_EQ(queued.error().code, Code::kBusy);
  ASSERT_TRUE(model.advance());
  EXPECT_FALSE(rests.rest(kOnEngine));
  model.finish();
  EXPECT_EQ(heard->reply->token_ids, before);
}

TEST_P(Rest, WithoutRoomOnTheDeviceItRestsOn) {
  const std::string before = answer();
  const std::uint64_t bytes = device->device_bytes;
  rest();
  device->device_limit_bytes = bytes - 1;
  const auto restored = rests.restore(kOnEngine);
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().code, Code::kOutOfMemory);
  EXPECT_EQ(device->device_bytes, 0U);
  device->device_limit_bytes = bytes;
  restore();
  EXPECT_EQ(answer(), before);
}

TEST_P(Rest, WithTooLittlePinnedMemoryItStaysAsItWas) {
  const std::string before = answer();
  device->pinned_limit_bytes = 20'000;  // enough for some of the pieces
  const auto kept = rests.keep_image();
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, Code::kOutOfMemory);
  EXPECT_EQ(rests.image_bytes(), 0U);
  EXPECT_EQ(device->pinned_bytes, 0U);
  EXPECT_FALSE(rests.rest(kOnEngine));  // it would be lost
  EXPECT_EQ(answer(), before);
}

TEST_P(Rest, ACancelledFirstRequestLeavesTheNextAsItWould) {
  const std::string before = answer();
  rest();
  restore();
  const auto heard = model.submit(ask(kQuestion, 1), {picture});
  ASSERT_TRUE(model.advance());
  model.job->cancelled = true;
  model.finish();
  EXPECT_EQ(heard->error->code, Code::kCancelled);
  EXPECT_EQ(answer(), before);
}

INSTANTIATE_TEST_SUITE_P(Qwen3Vl, Rest,
                         testing::Values(std::pair("shallow_bf16", "float32"),
                                         std::pair("tied_bf16", "bfloat16"),
                                         std::pair("untied_shards_f32", "int8")),
                         [](const auto& info) { return std::string(info.param.second); });

// Beside weights these have states, of which nothing is kept.
INSTANTIATE_TEST_SUITE_P(Qwen35, Rest,
                         testing::Values(std::pair("qwen3_5/tied_bf16", "bfloat16"),
                                         std::pair("qwen3_5_moe/fused_bf16", "int8")),
                         [](const auto& info) { return std::string(info.param.second); });

TEST(Resting, AModelThatIsDroppedMeanwhileGivesEverythingBack) {
  const auto device = std::make_shared<EvictableMemory::Account>();
  {
    LoadedModel model(
        load_on(std::make_unique<EvictableMemory>(device), "shallow_bf16", "float32"));
    ASSERT_TRUE(model.model().rests()->keep_image());
    ASSERT_TRUE(model.model().rests()->rest(kOnEngine));
    EXPECT_GT(device->pinned_bytes, 0U);
  }
  EXPECT_EQ(device->device_bytes, 0U);
  EXPECT_EQ(device->pinned_bytes, 0U);
}

TEST(Resting, IsPlannedForAGpuAndNotForAProcessor) {
  models::LoadOptions options;
  EXPECT_EQ(models::plan(case_files("shallow_bf16"), options)->image_bytes, 0U);
  options.device.kind = models::DeviceKind::kCuda;
  const auto plan = models::plan(case_files("shallow_bf16"), options);
  EXPECT_GT(plan->image_bytes, 0U);
  EXPECT_EQ(plan->image_bytes, plan->weights_bytes);
}

TEST(Resting, OnTheHostNothingRests) {
  LoadedModel model(
      load_on(decoder::host_memory(*hearth_kernels_ref()), "shallow_bf16", "float32"));
  EXPECT_EQ(model.model().rests(), nullptr);
}

}  // namespace
}  // namespace hearth::language
