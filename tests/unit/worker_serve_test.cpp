// A whole worker in this process, behind a real socketpair, with the fake family.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include "models/fake/prompt.h"
#include "shm/segment.h"
#include "tests/unit/worker_served_for_test.h"

namespace hearth::worker {
namespace {

// Of the whole process; 0 under a sanitizer.
std::size_t allocated_bytes() {
  const auto info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST_F(Served, IntroducesItselfFirst) {
  ASSERT_TRUE(broker.read_one());
  ASSERT_TRUE(broker.ready);
  EXPECT_EQ(broker.ready->slots, 3U);
  EXPECT_EQ(broker.ready->device.name, "test device");
  EXPECT_EQ(broker.ready->families.back(), "fake");
}

TEST_F(Served, RecognisesLoadsAnswersAndUnloads) {
  EXPECT_EQ(broker.attach_fake(1, "m").offered->family, "fake");
  EXPECT_GT(broker.load(2, "m").loaded->resident_bytes, 0U);
  EXPECT_EQ(broker.heard[2].stages.front(), "loading");
  generate(3, "hello there");
  EXPECT_EQ(broker.end_of(3).generated->text, "hello there");
  EXPECT_EQ(broker.heard[3].text, "hello there");
  EXPECT_EQ(broker.heard[3].inputs_done, 0);
  broker.send(4, contract::UnloadModel{"m"});
  EXPECT_FALSE(broker.end_of(4).unloaded->resident);
  generate(5, "again");
  EXPECT_EQ(broker.end_of(5).code(), "unknown_model");
  EXPECT_TRUE(broker.load(6, "m").loaded);
}

TEST_F(Served, AnswersASecondLoadAtOnce) {
  make_hot("m", R"(, "script": "!wait load 40")");
  EXPECT_EQ(broker.load(5, "m").loaded->load_ms, 0.0);
}

TEST_F(Served, RefusesFilesOfNoFamilyAndUnknownIds) {
  EXPECT_EQ(broker.attach(1, "x", {models::file_with("a.txt", "?")}).code(), "bad_model");
  EXPECT_EQ(broker.load(2, "nothing").code(), "unknown_model");
  generate(3, "hello", "nothing");
  EXPECT_EQ(broker.end_of(3).code(), "unknown_model");
  broker.send(4, contract::UnloadModel{"nothing"});
  EXPECT_EQ(broker.end_of(4).code(), "unknown_model");
}

TEST_F(Served, ForgetsAModelThatItRefused) {
  EXPECT_EQ(broker.attach(1, "m", {models::file_with("a.txt", "?")}).code(), "bad_model");
  EXPECT_TRUE(broker.attach_fake(2, "m").offered);
  EXPECT_EQ(broker.attach_fake(3, "m").code(), "bad_request");
}

TEST_F(Served, RefusesMessagesThatAreNotForAWorker) {
  broker.send(1, contract::Ping{});
  EXPECT_EQ(broker.end_of(1).code(), "unknown_message");
}

TEST_F(Served, AnswersWhatCannotBeLoaded) {
  broker.attach_fake(1, "m", R"(, "script": "!fail load")");
  EXPECT_EQ(broker.load(2, "m").code(), "internal");
  EXPECT_NE(broker.heard[2].error->what.find("load"), std::string::npos);
}

TEST_F(Served, NoticesAFileThatChangedAfterTheOffer) {
  const auto file = models::file_with("config.json", R"({"model_type": "hearth_fake"})");
  broker.attach(1, "m", {file});
  ASSERT_EQ(::ftruncate(file.fd->get(), 3), 0);
  EXPECT_EQ(broker.load(2, "m").code(), "model_changed");
  EXPECT_NE(broker.heard[2].error->what.find("config.json"), std::string::npos);
}

TEST_F(Served, KeepsAnsweringWhileAnotherModelLoads) {
  make_hot();
  broker.attach_fake(1, "slow", R"(, "script": "!wait load 30000")");
  broker.send(2, contract::LoadModel{"slow"});
  generate(3, "meanwhile");
  EXPECT_EQ(broker.end_of(3).generated->text, "meanwhile");
  EXPECT_EQ(broker.heard[2].replies, 0);
  broker.send(2, contract::Cancel{});
  EXPECT_EQ(broker.end_of(2).code(), "cancelled");
}

contract::Generate with_picture(std::uint32_t arena, std::uint64_t offset) {
  contract::Generate request = generate::chat("look");
  request.model = "m";
  contract::ContentPart part;
  part.kind = "image";
  part.tensor = contract::Tensor{arena, offset, 8 * 8 * 3, "u8", {8, 8, 3}, "HWC", "u8"};
  request.messages[0].content.push_back(part);
  return request;
}

TEST_F(Served, NeedsToKnowWhoseJobItIs) {
  make_hot();
  contract::Generate request = generate::chat("abc");
  request.model = "m";
  broker.send(1, request);
  EXPECT_EQ(broker.end_of(1).code(), "bad_request");
}

// The prefix cache as the last report has it.
contract::CacheEntry prefix_cache(const BrokerSide& broker) {
  return broker.cache_reports.back().caches.at(0);
}

TEST_F(Served, ReportsItsCachesAfterTheLastJobAndNotForEach) {
  make_hot();
  const auto start = std::chrono::steady_clock::now();
  constexpr std::uint32_t kJobs = 20;
  for (std::uint32_t id = 1; id <= kJobs; ++id) {
    generate(id, std::string(100, 'x'));
    ASSERT_TRUE(broker.end_of(id).generated);
  }
  const auto all = [&] {
    if (broker.cache_reports.empty()) return false;
    const contract::CacheEntry cache = prefix_cache(broker);
    return cache.hits + cache.misses == kJobs;
  };
  broker.read_until(all);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_LE(static_cast<double>(broker.cache_reports.size()), 1.0 + seconds);
  const contract::CacheEntry cache = prefix_cache(broker);
  EXPECT_EQ(cache.model, "m");
  EXPECT_EQ(cache.name, "prefix");
  EXPECT_EQ(cache.misses, 1U);
  EXPECT_GT(cache.entries, 0U);
  EXPECT_LE(cache.bytes, cache.budget_bytes);
}

TEST_F(Served, SharesNoPromptBetweenUsers) {
  make_hot();
  const std::string text(100, 'x');
  generate(1, text, "m", 1000);
  EXPECT_EQ(broker.end_of(1).generated->receipt.cached_tokens, 0U);
  generate(2, text, "m", 1001);
  EXPECT_EQ(broker.end_of(2).generated->receipt.cached_tokens, 0U);
  generate(3, text, "m", 1000);
  EXPECT_EQ(broker.end_of(3).generated->receipt.cached_tokens, 102U);  // all but the last
}

TEST_F(Served, ReadsPicturesThroughTheArena) {
  make_hot();
  const std::uint64_t nbytes = 1 << 16;
  const auto segment = create_segment(nbytes);
  ASSERT_TRUE(segment);
  auto mapping = Mapping::map(*segment, nbytes, Access::kReadWrite);
  ASSERT_TRUE(mapping);
  const auto pixels = mapping->writable_bytes().subspan(8192, 8 * 8 * 3);
  for (std::size_t at = 0; at < pixels.size(); ++at) pixels[at] = static_cast<std::byte>(at);
  broker.send(0, contract::AttachArena{7, nbytes}, {segment->get()});
  assign(1);
  broker.send(1, with_picture(7, 8192));
  const std::string expected =
      fmt::format("image 1: u8 [8, 8, 3] crc32 {:08x}; look", fake::crc32(pixels));
  EXPECT_EQ(broker.end_of(1).generated->text, expected);
  EXPECT_EQ(broker.heard[1].inputs_done, 1);
  assign(2);
  broker.send(2, with_picture(7, nbytes));
  EXPECT_EQ(broker.end_of(2).code(), "bad_tensor");
  broker.send(0, contract::AttachArena{8, nbytes}, {segment->get(), segment->get()});
  assign(4);
  broker.send(4, with_picture(8, 8192));
  EXPECT_EQ(broker.end_of(4).code(), "bad_tensor") << "which of the two would it be?";
  broker.send(0, contract::DetachArena{7});
  assign(3);
  broker.send(3, with_picture(7, 8192));
  EXPECT_EQ(broker.end_of(3).code(), "bad_tensor");
  broker.send(5, contract::UnloadModel{"m"});
  broker.end_of(5);
  EXPECT_TRUE(broker.heard[5].unloaded) << "every request has given the model back";
}

TEST_F(Served, InterleavesTwoAnswers) {
  make_hot();
  generate(1, "!wait step 1 !count 60");
  generate(2, "!wait step 1 !count 60");
  broker.read_until([&] { return !broker.heard[1].text.empty() && !broker.heard[2].text.empty(); });
  EXPECT_EQ(broker.heard[1].replies + broker.heard[2].replies, 0);
  EXPECT_EQ(broker.end_of(1).generated->text, broker.end_of(2).generated->text);
}

TEST_F(Served, AnswersFromTwoModelsAtOnce) {
  make_hot("m", R"(, "prefix": "first:")");
  make_hot("n", R"(, "prefix": "second:")");
  generate(1, "!wait step 1 !count 60");
  generate(2, "!wait step 1 !count 60", "n");
  broker.read_until([&] { return !broker.heard[1].text.empty() && !broker.heard[2].text.empty(); });
  EXPECT_EQ(broker.heard[1].replies + broker.heard[2].replies, 0);
  EXPECT_TRUE(broker.end_of(1).generated->text.starts_with("first: 1 2"));
  EXPECT_TRUE(broker.end_of(2).generated->text.starts_with("second: 1 2"));
}

TEST_F(Served, CancelsWhileWaitingToBePreparedWithoutWaiting) {
  make_hot();
  generate(1, "!wait prepare 30000");
  generate(2, "behind it");
  broker.send(2, contract::Cancel{});
  EXPECT_EQ(broker.end_of(2).code(), "cancelled");
  EXPECT_EQ(broker.heard[1].replies, 0);
  broker.send(1, contract::Cancel{});
  EXPECT_EQ(broker.end_of(1).code(), "cancelled");
}

TEST_F(Served, CancelsWhileDecodingAndTwiceAndAfterTheEnd) {
  make_hot();
  generate(1, "!wait step 1 !count 1000");
  broker.read_until([&] { return broker.heard[1].text.size() > 5; });
  broker.send(1, contract::Cancel{});
  broker.send(1, contract::Cancel{});
  EXPECT_EQ(broker.end_of(1).code(), "cancelled");
  broker.send(1, contract::Cancel{});
  broker.send(99, contract::Cancel{});
  generate(2, "still here");
  EXPECT_EQ(broker.end_of(2).generated->text, "still here");
  EXPECT_EQ(broker.heard[1].replies, 1);
  EXPECT_EQ(broker.heard[99].replies, 0);
}

TEST_F(Served, EndsEveryFaultyRequestWithOneErrorAndGoesOn) {
  make_hot();
  const std::pair<const char*, const char*> faults[] = {{"!fail prepare", "internal"},
                                                        {"!fail begin", "internal"},
                                                        {"!fail prefill", "internal"},
                                                        {"!fail step 2 !count 9", "internal"},
                                                        {"!nan 2 !count 9", "not_finite"}};
  std::uint32_t id = 1;
  for (const auto& [words, code] : faults) {
    generate(id, words);
    EXPECT_EQ(broker.end_of(id).code(), code) << words;
    EXPECT_EQ(broker.heard[id].replies, 1) << words;
    ++id;
  }
  generate(id, "fine");
  EXPECT_EQ(broker.end_of(id).generated->text, "fine");
}

TEST_F(Served, KeepsNothingOfARequestThatEnded) {
  constexpr std::size_t kRequests = 64;
  const std::string too_long(200'000, 'x');
  make_hot();
  const std::size_t before = allocated_bytes();
  for (std::uint32_t id = 1; id <= kRequests; ++id) {
    generate(id, too_long);
    EXPECT_EQ(broker.end_of(id).code(), "too_long");
  }
  EXPECT_LE(allocated_bytes(), before + kRequests * too_long.size() / 2);
}

TEST_F(Served, UnloadsOnlyWhenTheLastAnswerIsGiven) {
  make_hot();
  generate(1, "!wait step 1 !count 200");
  broker.read_until([&] { return !broker.heard[1].text.empty(); });
  broker.send(2, contract::UnloadModel{"m"});
  generate(3, "too late");
  EXPECT_EQ(broker.end_of(3).code(), "unknown_model");
  broker.end_of(2);
  EXPECT_EQ(broker.heard[1].replies, 1);
  EXPECT_TRUE(broker.heard[1].generated);
}

TEST_F(Served, UnloadsAfterALoadThatIsUnderWay) {
  broker.attach_fake(1, "m", R"(, "script": "!wait load 100")");
  broker.send(2, contract::LoadModel{"m"});
  broker.send(3, contract::UnloadModel{"m"});
  EXPECT_TRUE(broker.end_of(3).unloaded);
  EXPECT_TRUE(broker.heard[2].loaded);
  generate(4, "gone");
  EXPECT_EQ(broker.end_of(4).code(), "unknown_model");
}

TEST_F(Served, FailsWhatRunsWhenTheDeviceIsLost) {
  make_hot();
  generate(1, "!wait step 1 !count 500");
  generate(2, "!lost 3 !count 9");
  EXPECT_EQ(broker.end_of(1).code(), "worker_lost");
  EXPECT_EQ(broker.end_of(2).code(), "worker_lost");
  EXPECT_TRUE(broker.heard[2].error->retryable);
  const auto deadline = models::Clock::now() + std::chrono::seconds(kWatchdogSeconds);
  while (losses == 0 && models::Clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(losses, 1);
}

}  // namespace
}  // namespace hearth::worker
