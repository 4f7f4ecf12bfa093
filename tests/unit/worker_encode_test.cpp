// Encode requests through a whole worker: hidden states in shared memory, whatever happens on the
// way.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "daemon/worker/open_job.h"
#include "tests/unit/worker_served_for_test.h"

namespace hearth::worker {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
// 1.1 MiB, so that 2 MiB have room for one. [18 tokens, 16384 columns] f32
const std::string kLarge = "!hidden 16384 x";
// A prompt passes through the decoder in many steps, and can be cancelled between them.
const std::string kSmallChunks = R"(, "prefill_chunk_tokens": 1)";

class Encoding : public Served {
 protected:
  explicit Encoding(ResultLimits limits = small_limits()) : Served(with(limits)) {}

  static ResultLimits small_limits() {
    ResultLimits limits;
    limits.smallest_segment_bytes = kMiB;
    limits.check_interval = std::chrono::hours(1);  // nothing ends only because time passes
    return limits;
  }
  static Settings with(const ResultLimits& limits) {
    Settings settings;
    settings.results = limits;
    return settings;
  }

  // 2 MiB of arenas are allowed in all: one such result has room.
  void encode_large(std::uint32_t id) {
    encode(id, kLarge, 5, broker.lent.empty() ? 2 * kMiB : kMiB / 2);
  }
  // What a client sees of the first tensor.
  std::vector<float> values_of(std::uint32_t id) {
    const contract::Tensor& tensor = broker.heard[id].encoded->tensors.at(0);
    const auto view = checked_view(tensor, broker.lent.at(tensor.arena).mapping.bytes());
    EXPECT_TRUE(view);
    std::vector<float> values(view->bytes.size() / sizeof(float));
    std::memcpy(values.data(), view->bytes.data(), view->bytes.size());
    return values;
  }
  void expect_encoded(std::uint32_t id) {
    const Heard& heard = broker.end_of(id);
    ASSERT_TRUE(heard.encoded) << (heard.error ? heard.error->what : "");
    const std::vector<std::int32_t> ids = generate::ids_in(heard.encoded->prompt_token_ids);
    const std::vector<float> values = values_of(id);
    const std::size_t columns = values.size() / ids.size();
    ASSERT_EQ(heard.encoded->tensors.at(0).shape,
              (std::vector<std::int64_t>{static_cast<std::int64_t>(ids.size()),
                                         static_cast<std::int64_t>(columns)}));
    for (std::size_t at = 0; at < ids.size(); ++at)
      ASSERT_EQ(values[at * columns], static_cast<float>(ids[at]));
  }
  void release(std::uint32_t id) {
    for (const contract::Tensor& tensor : broker.heard[id].encoded->tensors)
      broker.send(0, contract::ReleaseSlots{tensor.arena, {tensor.offset}});
  }
  // Ends a request that nothing else ends, and proves that it was still open.
  void cancel(std::uint32_t id) {
    EXPECT_EQ(broker.heard[id].replies, 0);
    broker.send(id, contract::Cancel{});
    EXPECT_EQ(broker.end_of(id).code(), "cancelled");
  }
  // A whole round trip through every thread: what was sent before it has been dealt with.
  void expect_well(std::uint32_t id) {
    encode(id, "fine", 77);
    expect_encoded(id);
    for (const auto& [other, heard] : broker.heard)
      EXPECT_LE(heard.replies, 1) << "request " << other;
  }
};

TEST_F(Encoding, GivesHiddenStatesInSharedMemory) {
  make_hot();
  encode(1, "abc");
  expect_encoded(1);
  EXPECT_EQ(broker.lent.size(), 1U);
  EXPECT_EQ(broker.lent.begin()->second.message.client, 5U);
  EXPECT_GT(broker.heard[1].encoded->receipt.prompt_tokens, 3U);
  EXPECT_FALSE(broker.heard[1].encoded->receipt.pinned);
  encode(2, "abcd");
  expect_encoded(2);
  encode(3, "abc", 6);
  expect_encoded(3);
  EXPECT_EQ(broker.lent.size(), 2U) << "one for each client";
  expect_encoded(1);
}

TEST_F(Encoding, GivesTheModelBackWhenItEnds) {
  make_hot();
  encode(1, "abc");
  expect_encoded(1);
  broker.send(2, contract::UnloadModel{"m"});
  broker.end_of(2);
  EXPECT_TRUE(broker.heard[2].unloaded);
}

TEST_F(Encoding, NeedsToKnowWhoseJobItIs) {
  make_hot();
  contract::Encode request = generate::encode("abc", {0});
  request.model = "m";
  broker.send(1, request);
  EXPECT_EQ(broker.end_of(1).code(), "bad_request");
  encode(2, "abc");
  broker.end_of(2);
  broker.send(2, request);
  broker.read_until([&] { return broker.heard[2].error.has_value(); });
}

TEST_F(Encoding, RefusesAModelThatIsNotLoaded) {
  broker.attach_fake(1, "m");
  encode(2, "abc");
  EXPECT_EQ(broker.end_of(2).code(), "unknown_model");
}

TEST_F(Encoding, RunsBesideAnswers) {
  make_hot();
  generate(1, "!wait step 1 !count 100");
  broker.read_until([&] { return !broker.heard[1].text.empty(); });
  encode(2, "abc");
  expect_encoded(2);
  EXPECT_TRUE(broker.end_of(1).generated);
}

TEST_F(Encoding, WaitsForTheClientToReleaseAnotherResult) {
  make_hot();
  encode_large(1);
  expect_encoded(1);
  encode_large(2);
  broker.read_until([&] { return broker.heard[2].computed == 1; });  // it holds no slot any more
  encode(3, "small", 6);
  expect_encoded(3);
  EXPECT_EQ(broker.heard[2].replies, 0);
  release(1);
  expect_encoded(2);
  EXPECT_EQ(broker.lent.size(), 2U);
}

TEST_F(Encoding, IsCancelledInEveryState) {
  make_hot("m", kSmallChunks);
  encode(1, "!wait prepare 30000");
  encode(2, "behind it");
  cancel(2);  // waits for the prepare thread
  cancel(1);  // is being prepared
  encode(3, "!wait prefill 300");
  broker.read_until([&] { return !broker.heard[3].stages.empty(); });
  cancel(3);  // on the engine
  encode_large(4);
  expect_encoded(4);
  encode_large(5);
  encode(6, "has more tokens than the large one", 6);
  expect_encoded(6);
  cancel(5);  // waits for room
  for (const std::uint32_t id : {1, 2, 3, 4, 5}) broker.send(id, contract::Cancel{});
  expect_well(7);
}

TEST_F(Encoding, EndsFaultyRequestsWithOneError) {
  make_hot();
  std::uint32_t id = 1;
  for (const char* words : {"!fail prepare", "!fail begin", "!fail prefill"}) {
    encode(id, words);
    EXPECT_EQ(broker.end_of(id).code(), "internal") << words;
    ++id;
  }
  encode(id, "abc", 5, 0);
  EXPECT_EQ(broker.end_of(id).code(), "out_of_arena");
  EXPECT_TRUE(broker.heard[id].error->retryable);
  expect_well(id + 1);
}

TEST_F(Encoding, ForgetsAClientWithAllThatIsOnItsWay) {
  make_hot("m", kSmallChunks);
  encode_large(1);
  expect_encoded(1);
  encode_large(2);
  encode(3, "!wait prefill 300", 5, kMiB / 2);
  broker.read_until([&] { return !broker.heard[3].stages.empty(); });
  for (const std::uint32_t id : {2, 3}) broker.send(id, contract::Cancel{});
  broker.send(0, contract::ForgetClient{5});
  EXPECT_EQ(broker.end_of(2).code(), "cancelled");
  EXPECT_EQ(broker.end_of(3).code(), "cancelled");
  release(1);  // crossed with it
  expect_well(4);
}

TEST_F(Encoding, EndsAWaitingResultWhenItsClientIsForgottenWithoutACancel) {
  make_hot();
  encode_large(1);
  expect_encoded(1);
  encode_large(2);
  broker.send(0, contract::ForgetClient{5});
  EXPECT_EQ(broker.end_of(2).code(), "cancelled");
}

// The fixture ends the worker while a result waits and another is on the engine.
TEST_F(Encoding, EndsWithResultsOnTheirWay) {
  make_hot();
  encode_large(1);
  expect_encoded(1);
  encode_large(2);
  encode(3, "!wait prefill 50", 5, kMiB / 2);
}

class ImpatientEncoding : public Encoding {
 protected:
  ImpatientEncoding() : Encoding(limits()) {}
  static ResultLimits limits() {
    ResultLimits limits = small_limits();
    limits.waiting_time = limits.idle_time = std::chrono::milliseconds(20);
    limits.check_interval = std::chrono::milliseconds(5);
    return limits;
  }
};

TEST_F(ImpatientEncoding, FailsWhatHasWaitedTooLong) {
  make_hot();
  encode_large(1);
  expect_encoded(1);
  encode_large(2);
  EXPECT_EQ(broker.end_of(2).code(), "out_of_arena");
  EXPECT_TRUE(broker.taken_back.empty());
  expect_encoded(1);
}

TEST_F(ImpatientEncoding, TakesEmptySegmentsBackByItself) {
  make_hot();
  encode(1, "abc");
  expect_encoded(1);
  release(1);
  broker.read_until([&] { return !broker.taken_back.empty(); });
  EXPECT_EQ(broker.taken_back.front(), broker.lent.begin()->first);
  expect_encoded(1);
}

class Incapable : public models::Model {
 public:
  void submit(models::OnEngine, std::shared_ptr<models::Job>, std::unique_ptr<models::Prompt>,
              std::shared_ptr<models::Listener>) override {}
  Result<bool> advance(models::OnEngine) override { return false; }
  std::string_view family() const override { return "stone"; }
  std::string_view dtype() const override { return "float32"; }
  std::uint64_t resident_bytes() const override { return 0; }
};

class Refusing : public Incapable, public models::Generates {
 public:
  models::Generates* generates() override { return this; }
  Result<std::unique_ptr<models::Prompt>> prepare(const contract::Generate&,
                                                  std::span<const TensorView>,
                                                  const models::Job&) const override {
    return fail(Code::kUnsupported, "not this one");
  }
};

class OpenJobTest : public testing::Test {
 protected:
  std::shared_ptr<OpenJob> open(RequestTensors tensors = {}) {
    return std::make_shared<OpenJob>(
        1, JobInput{{}, contract::Generate{}, std::move(tensors), false},
        JobOutlet{link_, results_, [](contract::Receipt&) {}, [] {}}, [this] { ++ends; });
  }

  int ends = 0;

 private:
  SocketPair sockets_ = make_sockets();
  Link link_{std::move(sockets_.worker)};
  PinnedMemory pinned_{{}, 0};
  ResultsThread results_{link_, pinned_, {}};
};

TEST_F(OpenJobTest, EndsOnceWhateverItsModelSays) {
  const auto job = open();
  EXPECT_TRUE(job->start());
  job->done({});
  job->done({});
  job->failed(fail(Code::kUnsupported, "too late"));
  job->cancel();
  EXPECT_EQ(ends, 1);
}

TEST_F(OpenJobTest, HoldsItsPicturesOnlyUntilTheyWereRead) {
  const auto segment = create_segment(8192);
  ASSERT_TRUE(segment);
  auto mapping = Mapping::map(*segment, 8192, Access::kReadOnly);
  ASSERT_TRUE(mapping);
  auto arena = std::make_shared<const Mapping>(*std::move(mapping));
  const std::weak_ptr<const Mapping> held = arena;
  const auto job = open({{}, {std::move(arena)}});
  EXPECT_FALSE(held.expired());
  Refusing model;
  EXPECT_FALSE(job->prepare(model));
  EXPECT_TRUE(held.expired());
}

TEST(Capability, ThatIsMissingIsNamedWithTheFamily) {
  Incapable stone;
  for (const JobRequest& request :
       {JobRequest(contract::Generate{}), JobRequest(contract::Encode{})}) {
    const auto able = check_capability(stone, request);
    ASSERT_FALSE(able);
    EXPECT_EQ(able.error().code, Code::kUnsupported);
    EXPECT_NE(able.error().what.find("stone"), std::string::npos);
  }
}

}  // namespace
}  // namespace hearth::worker
