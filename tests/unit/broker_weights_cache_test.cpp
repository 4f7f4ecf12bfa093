// Rounded weights on disk: which file a model gets, what becomes of it, and how much all may take.
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <sys/stat.h>

#include "daemon/broker/handover/format.h"
#include "daemon/broker/handover/state.h"
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

using std::filesystem::directory_iterator;

const std::string kKey = std::string(39, 'a') + "1", kOther = std::string(39, 'b') + "2",
                  kThird = std::string(39, 'c') + "3";

struct Cached : BrokerTest {
  const std::string path = folder.path() + "/cache/weights";

  std::shared_ptr<const WeightsCache> open(std::uint64_t most_bytes = 1000) {
    auto opened = WeightsCache::open(path, most_bytes);
    EXPECT_TRUE(opened) << opened.error().what;
    return *opened;
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(directory_iterator(path), directory_iterator()));
  }
  static WeightsCache::File write(const WeightsCache& cache, const std::string& key,
                                  std::size_t bytes) {
    auto file = cache.find(key);
    EXPECT_TRUE(file && file->writes);
    const std::string content(bytes, 'x');
    EXPECT_EQ(::pwrite(file->fd->get(), content.data(), bytes, 0), static_cast<ssize_t>(bytes));
    return *file;
  }
  // Used so many seconds ago.
  void age(const std::string& key, int seconds) const {
    timespec times[2];
    ::clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= seconds;
    times[1] = times[0];
    ASSERT_EQ(::utimensat(AT_FDCWD, (path + "/" + key + ".weights").c_str(), times, 0), 0);
  }
  static bool holds(const WeightsCache& cache, const std::string& key) {
    const auto file = cache.find(key);
    return file && !file->writes;
  }
};

TEST_F(Cached, AFileHasNoNameUntilItIsKept) {
  const auto cache = open();
  {
    const auto file = write(*cache, kKey, 100);
    EXPECT_EQ(files(), 0U);  // as after a crash
  }
  EXPECT_EQ(files(), 0U);
  EXPECT_TRUE(cache->keep(write(*cache, kKey, 100)));
  EXPECT_EQ(files(), 1U);
  EXPECT_EQ(cache->bytes(), 100U);
  const auto found = cache->find(kKey);
  ASSERT_TRUE(found && !found->writes);
  char byte = 0;
  EXPECT_EQ(::pread(found->fd->get(), &byte, 1, 99), 1);
  EXPECT_EQ(byte, 'x');
  struct stat status {};
  ASSERT_EQ(::fstat(found->fd->get(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  cache->drop(kKey);
  EXPECT_EQ(files(), 0U);
  EXPECT_EQ(::pread(found->fd->get(), &byte, 1, 99), 1);  // who reads it goes on
}

TEST_F(Cached, WhatWasNotUsedForLongestLeaves) {
  const auto cache = open(1000);
  EXPECT_TRUE(cache->keep(write(*cache, kKey, 400)));
  EXPECT_TRUE(cache->keep(write(*cache, kOther, 400)));
  age(kKey, 20);
  age(kOther, 10);
  EXPECT_TRUE(holds(*cache, kKey));  // and is used
  EXPECT_TRUE(cache->keep(write(*cache, kThird, 400)));
  EXPECT_TRUE(holds(*cache, kKey));
  EXPECT_FALSE(holds(*cache, kOther));
  EXPECT_TRUE(holds(*cache, kThird));
  EXPECT_LE(cache->bytes(), 1000U);
  const auto refused = cache->keep(write(*cache, kOther, 1001));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().hint.find("--cache-size"), std::string::npos);
  EXPECT_TRUE(holds(*cache, kKey));  // nothing left for what cannot be kept
}

TEST_F(Cached, AnotherBoundCountsForWhatIsKeptNext) {
  const auto cache = open(1000);
  EXPECT_TRUE(cache->keep(write(*cache, kKey, 400)));
  cache->set_most_bytes(500);
  EXPECT_TRUE(holds(*cache, kKey));
  EXPECT_TRUE(cache->keep(write(*cache, kOther, 400)));
  EXPECT_FALSE(holds(*cache, kKey));
  EXPECT_FALSE(cache->keep(write(*cache, kThird, 501)));
}

TEST_F(Cached, TwoServicesShareAFolder) {
  const auto one = open(), other = open();
  const auto first = write(*one, kKey, 100), second = write(*other, kKey, 100);
  EXPECT_TRUE(one->keep(first));
  EXPECT_TRUE(other->keep(second));  // the same weights: either will do
  EXPECT_EQ(files(), 1U);
  EXPECT_TRUE(holds(*one, kKey) && holds(*other, kKey));
}

TEST_F(Cached, OtherFilesAreLeftAlone) {
  const auto cache = open(100);
  std::ofstream(path + "/notes.txt") << std::string(500, 'n');
  std::ofstream(path + "/model.weights") << std::string(500, 'm');
  EXPECT_TRUE(cache->keep(write(*cache, kKey, 100)));
  EXPECT_EQ(files(), 3U);
  EXPECT_EQ(cache->bytes(), 100U);
  std::filesystem::create_symlink(path + "/notes.txt", path + "/" + kOther + ".weights");
  EXPECT_FALSE(holds(*cache, kOther));
}

TEST_F(Cached, AFolderThatCannotBeMadeIsNamed) {
  std::ofstream(folder.path() + "/file") << "x";
  const auto opened = WeightsCache::open(folder.path() + "/file/weights", 1);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().what.find("file/weights"), std::string::npos);
}

// --- which models, and when ---

struct Served : Cached {
  FakeClient client;

  void serve() {
    Config config;
    config.weights_cache = open();
    make_broker(config);
    connect(client);
    start_worker();
    folder.write("w", "x");
  }
  std::string offer_as(std::uint32_t request, const std::string& dtype,
                       const std::string& attention = "auto") {
    contract::OfferModel offer;
    offer.labels = {"config.json"};
    offer.dtype = dtype;
    offer.attention = attention;
    std::vector<Fd> fds;
    fds.push_back(folder.open("w"));
    send(client, request, offer, std::move(fds));
    off_loop.run_all();
    recognise();
    return client.answer<contract::ModelOffered>(request).model;
  }
  // Of the file that went along with the load.
  std::optional<contract::WeightsCache> load(std::uint32_t request, const std::string& model) {
    const std::size_t before = worker.count<contract::WeightsCache>();
    contract::LoadModel message;
    message.model = model;
    send(client, request, message);
    if (worker.count<contract::WeightsCache>() == before) return std::nullopt;
    const OutFrame frame = worker.last<contract::WeightsCache>();
    file = frame.fds.at(0);
    return *contract::unpack<contract::WeightsCache>(bytes_of(frame.body));
  }
  void report(const std::string& model, const std::string& outcome) {
    contract::WeightsCached message;
    message.model = model;
    message.outcome = outcome;
    from_worker(0, message);
    off_loop.run_all();
  }
  void leave(std::uint32_t request, const std::string& model) {
    contract::UnloadModel message;
    message.model = model;
    send(client, request, message);
    finish_unload();
  }
  SharedFd file;
};

TEST_F(Served, AModelThatIsRoundedHasAFileAndReadsItTheNextTime) {
  serve();
  const std::string model = offer_as(1, "int8");
  const auto first = load(2, model);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->model, model);
  EXPECT_TRUE(first->writes);
  ASSERT_EQ(::pwrite(file->get(), "weights", 7, 0), 7);
  finish_load();
  report(model, "written");
  EXPECT_EQ(files(), 1U);
  leave(3, model);
  const std::string again = offer_as(4, "int8");
  EXPECT_EQ(again, model);
  const auto second = load(5, again);
  ASSERT_TRUE(second);
  EXPECT_FALSE(second->writes);
  finish_load();
  report(model, "damaged");
  EXPECT_EQ(files(), 0U);
}

TEST_F(Served, TheSameWeightsWithAnotherAttentionShareAFile) {
  serve();
  const std::string model = offer_as(1, "int8"), other = offer_as(2, "int8", "eager");
  ASSERT_NE(model, other);
  ASSERT_TRUE(load(3, model));
  ASSERT_EQ(::pwrite(file->get(), "weights", 7, 0), 7);
  finish_load();
  report(model, "written");
  leave(4, model);
  leave(5, other);
  offer_as(6, "int8", "eager");
  const auto shared = load(7, other);
  ASSERT_TRUE(shared);
  EXPECT_FALSE(shared->writes);
  const auto rounded_otherwise = load(9, offer_as(8, "int4"));
  ASSERT_TRUE(rounded_otherwise);
  EXPECT_TRUE(rounded_otherwise->writes);
}

TEST_F(Served, WhatIsNotRoundedHasNone) {
  serve();
  EXPECT_FALSE(load(2, offer_as(1, "auto")));
  finish_load();
  EXPECT_FALSE(load(4, offer_as(3, "bfloat16")));
}

// The process after an upgrade may have been told to keep none.
TEST_F(Served, AServiceWithoutAFolderForgetsTheFilesOfTheOneBefore) {
  serve();
  const std::string model = offer_as(1, "int8");
  handover::Saver saver;
  broker->save(saver);
  handover::Loader loader(saver.bytes(), handover::kFormat, saver.descriptors());
  loader.adopt_with([](Fd fd) { return std::make_shared<const Fd>(Fd(::dup(fd.release()))); });
  const auto before = std::move(broker);
  make_broker(Config{});
  ASSERT_TRUE(broker->restore(loader));
  broker->attach(client.id, client);
  broker->resume();
  EXPECT_FALSE(load(2, model));
  finish_load();
  report(model, "written");
  EXPECT_EQ(files(), 0U);
}

// A disk that is full now may have room at the next load.
TEST_F(Served, AFileThatWasNotWrittenIsOfferedAgain) {
  serve();
  const std::string model = offer_as(1, "int8");
  const auto first = load(2, model);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->most_bytes, std::uint64_t{64} << 30);
  EXPECT_EQ(first->keep_free, std::uint64_t{10} << 30);
  finish_load();
  for (const char* outcome : {"too_large", "disk_full", "failed"}) report(model, outcome);
  EXPECT_EQ(files(), 0U);
  leave(3, model);
  const auto second = load(5, offer_as(4, "int8"));
  ASSERT_TRUE(second);
  EXPECT_TRUE(second->writes);
}

TEST_F(Served, AWorkerThatSaysNonsenseKeepsNothing) {
  serve();
  const std::string model = offer_as(1, "int8");
  report(model, "unused");
  report("ffffffffffffffff", "written");
  EXPECT_EQ(files(), 0U);
  ASSERT_TRUE(load(2, model));
}

}  // namespace
}  // namespace hearth::broker
