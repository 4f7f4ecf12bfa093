// Models that rest: leave, come back, and what may go wrong in between, through a whole worker.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "models/generate/fault.h"
#include "tests/unit/worker_served_for_test.h"

namespace hearth::worker {
namespace {

class Resting : public Served {
 protected:
  static std::string config(const std::string& script = "") {
    return fmt::format(R"(, "image_bytes": 4096, "script": "{}")", script);
  }
  std::uint64_t rest(std::uint32_t id, const std::string& model = "m") {
    broker.send(id, contract::RestModel{model});
    const Heard& heard = broker.end_of(id);
    if (!heard.unloaded) ADD_FAILURE() << heard.code();
    return heard.unloaded ? heard.unloaded->image_bytes : 0;
  }
  std::string answer(std::uint32_t id, const std::string& text) {
    generate(id, text);
    const Heard& heard = broker.end_of(id);
    return heard.generated ? heard.generated->text : heard.code();
  }
};

TEST_F(Resting, TellsItsImageBeforeItIsLoaded) {
  EXPECT_EQ(broker.attach_fake(1, "m", config()).offered->memory.image_bytes, 4096U);
}

TEST_F(Resting, ComesBackWarmAndAnswersAsBefore) {
  make_hot("m", config());
  EXPECT_EQ(answer(1, "hello there"), "hello there");
  EXPECT_EQ(rest(2), 4096U);
  EXPECT_EQ(answer(3, "hello there"), "unknown_model");  // nobody may use it meanwhile
  EXPECT_TRUE(broker.load(4, "m").loaded->warm);
  EXPECT_EQ(answer(5, "hello there"), "hello there");  // its pages are checked
  EXPECT_EQ(broker.heard[5].generated->receipt.cached_tokens, 0U);
}

TEST_F(Resting, AColdLoadIsNotWarm) {
  make_hot("m", config());
  broker.send(1, contract::UnloadModel{"m"});
  broker.end_of(1);
  EXPECT_FALSE(broker.load(2, "m").loaded->warm);
}

TEST_F(Resting, WaitsForTheRequestAtHand) {
  make_hot("m", config());
  generate(1, "!wait prefill 100 !count 20");
  broker.send(2, contract::RestModel{"m"});
  EXPECT_EQ(broker.end_of(2).unloaded->image_bytes, 4096U);
  ASSERT_EQ(broker.heard[1].replies, 1);
  EXPECT_TRUE(broker.heard[1].generated);
}

TEST_F(Resting, ACancelledRequestDoesNotKeepItFromResting) {
  make_hot("m", config());
  generate(1, "!wait prefill 100 !wait step 5 !count 2000");
  broker.send(1, contract::Cancel{});
  EXPECT_EQ(rest(2), 4096U);
  EXPECT_EQ(broker.end_of(1).code(), "cancelled");
}

TEST_F(Resting, RestsAgainAndAgain) {
  make_hot("m", config());
  for (std::uint32_t i = 0; i < 20; ++i) {
    EXPECT_EQ(rest(10 + 3 * i), 4096U);
    EXPECT_TRUE(broker.load(11 + 3 * i, "m").loaded->warm);
    EXPECT_EQ(answer(12 + 3 * i, "again"), "again");
  }
}

TEST_F(Resting, WithoutPinnedMemoryItIsDroppedAndNothingElseFails) {
  make_hot("m", config("!full image"));
  EXPECT_EQ(rest(1), 0U);
  EXPECT_FALSE(broker.load(2, "m").loaded->warm);
  EXPECT_EQ(answer(3, "here"), "here");
}

TEST_F(Resting, AModelThatCannotRestIsDropped) {
  make_hot("m");
  EXPECT_EQ(rest(1), 0U);
  EXPECT_FALSE(broker.load(2, "m").loaded->warm);
}

TEST_F(Resting, WithoutRoomItRestsOnUntilItsImageIsForgotten) {
  make_hot("m", config("!full restore"));
  rest(1);
  EXPECT_EQ(broker.load(2, "m").code(), "out_of_memory");
  EXPECT_EQ(broker.load(3, "m").code(), "out_of_memory");
  broker.send(0, contract::ForgetImage{"m"});
  const Heard& cold = broker.load(4, "m");
  ASSERT_TRUE(cold.loaded);
  EXPECT_FALSE(cold.loaded->warm);
}

TEST_F(Resting, WhatIsSpoiltOnTheWayBackIsLoadedFromItsFiles) {
  make_hot("m", config("!fail restore"));
  rest(1);
  EXPECT_EQ(broker.load(2, "m").code(), "internal");
  EXPECT_FALSE(broker.load(3, "m").loaded->warm);
  EXPECT_EQ(answer(4, "here"), "here");
}

TEST_F(Resting, WhatFailsOnTheWayOutIsDropped) {
  make_hot("m", config("!fail rest"));
  EXPECT_EQ(rest(1), 0U);
  EXPECT_FALSE(broker.load(2, "m").loaded->warm);
}

TEST_F(Resting, ALostDeviceOnTheWayBackEndsTheWorker) {
  make_hot("m", config("!lost restore"));
  rest(1);
  EXPECT_EQ(broker.load(2, "m").code(), "worker_lost");
  EXPECT_EQ(losses.load(), 1);
}

TEST_F(Resting, AHotModelStaysHotWithoutItsImage) {
  make_hot("m", config());
  rest(1);
  broker.load(2, "m");
  broker.send(0, contract::ForgetImage{"m"});
  EXPECT_EQ(answer(3, "here"), "here");
  EXPECT_EQ(rest(4), 4096U);
}

TEST_F(Resting, OneThatIsDetachedWhileItRestsIsGone) {
  make_hot("m", config());
  rest(1);
  broker.send(0, contract::DetachModel{"m"});
  make_hot("m", config());
  EXPECT_EQ(answer(2, "here"), "here");
}

TEST_F(Resting, OthersAreLoadedWhileAnImageIsMade) {
  make_hot("m", config("!wait image 300"));
  broker.send(1, contract::RestModel{"m"});
  make_hot("other", config());
  EXPECT_EQ(broker.heard[1].replies, 0);
  EXPECT_EQ(broker.end_of(1).unloaded->image_bytes, 4096U);
}

// The pools of a device that is not well.
class Trimming : public Served {
 protected:
  Trimming() : Served(failing()) {}

 private:
  static Settings failing() {
    Settings settings;
    settings.engine.trim = []() -> std::uint64_t { throw std::runtime_error("no pool"); };
    return settings;
  }
};

TEST_F(Trimming, ThatFailsEndsNothingButTheRequestThatLackedMemory) {
  make_hot();
  generate(1, "!full prefill word");
  EXPECT_EQ(broker.end_of(1).code(), "out_of_memory");
  generate(2, "word");
  EXPECT_EQ(broker.end_of(2).generated->text, "word");
  EXPECT_EQ(losses.load(), 0);
}

// A device that counts how often it is kept awake.
struct Counting {
  std::shared_ptr<std::atomic<int>> ticks = std::make_shared<std::atomic<int>>(0);
  std::shared_ptr<std::atomic<bool>> fails = std::make_shared<std::atomic<bool>>(false);

  EngineThread::Ticking ticking(models::Clock::duration length) {
    return {.tick = [ticks = ticks, fails = fails]() -> Result<void> {
              ++*ticks;
              if (fails->load()) return fail(Code::kInternal, "it refuses");
              return {};
            },
            .length = length,
            .every = std::chrono::milliseconds(1)};
  }
};

// Steps three times, then has no sequence left.
class Steps : public models::Model {
 public:
  void submit(models::OnEngine, std::shared_ptr<models::Job>, std::unique_ptr<models::Prompt>,
              std::shared_ptr<models::Listener>) override {
    left_ = 3;
  }
  Result<bool> advance(models::OnEngine) override { return --left_ > 0; }
  std::string_view family() const override { return "steps"; }
  std::string_view dtype() const override { return "float32"; }
  std::uint64_t resident_bytes() const override { return 0; }

 private:
  int left_ = 0;
};

void wait_for(const std::function<bool()>& happens) {
  const auto deadline = models::Clock::now() + std::chrono::seconds(kWatchdogSeconds);
  while (!happens()) {
    ASSERT_LT(models::Clock::now(), deadline);
    std::this_thread::yield();
  }
}

TEST(Clocks, AreKeptUpForAWhileAfterTheLastStepAndNotBefore) {
  Counting device;
  EngineThread engine([](const Error&) {}, device.ticking(std::chrono::milliseconds(50)));
  ASSERT_TRUE(engine.call([](models::OnEngine) { return Result<void>(); }));
  EXPECT_EQ(device.ticks->load(), 0);
  for (int round = 1; round <= 2; ++round) {
    const int before = device.ticks->load();
    engine.submit({"m", std::make_shared<Steps>()}, nullptr, nullptr, nullptr);
    wait_for([&] { return device.ticks->load() > before + 2; });
    // A tick a millisecond at most, and the last one begins before the time is over.
    const auto over = models::Clock::now() + std::chrono::milliseconds(60);
    wait_for([&] { return models::Clock::now() > over; });
    ASSERT_TRUE(engine.call([](models::OnEngine) { return Result<void>(); }));
    const int after = device.ticks->load();
    EXPECT_LE(after, round * 51);
    ASSERT_TRUE(engine.call([](models::OnEngine) { return Result<void>(); }));
    EXPECT_EQ(device.ticks->load(), after);
  }
}

TEST(Clocks, ADeviceThatRefusesIsNotAskedAgain) {
  Counting device;
  *device.fails = true;
  EngineThread engine([](const Error&) {}, device.ticking(std::chrono::seconds(3600)));
  engine.submit({"m", std::make_shared<Steps>()}, nullptr, nullptr, nullptr);
  wait_for([&] { return device.ticks->load() == 1; });
  *device.fails = false;
  engine.submit({"m", std::make_shared<Steps>()}, nullptr, nullptr, nullptr);
  wait_for([&] { return device.ticks->load() > 3; });
}

// Else nobody would notice that the next request is never begun.
TEST(Clocks, ADeviceThatHangsShowsAsAStepThatDoesNotEnd) {
  std::atomic<bool> hangs = true;
  std::atomic<int> ticks = 0;
  EngineThread engine([](const Error&) {}, {.tick = [&]() -> Result<void> {
                                              ++ticks;
                                              while (hangs) std::this_thread::yield();
                                              return {};
                                            },
                                            .length = std::chrono::seconds(3600),
                                            .every = std::chrono::milliseconds(1)});
  engine.submit({"m", std::make_shared<Steps>()}, nullptr, nullptr, nullptr);
  wait_for([&] { return ticks.load() == 1; });
  EXPECT_EQ(engine.progress().phase(), models::Phase::kDecode);
  hangs = false;
  ASSERT_TRUE(engine.call([](models::OnEngine) { return Result<void>(); }));
}

TEST(Clocks, ADeviceThatIsLostMeanwhileEndsTheEngineWithAWord) {
  std::atomic<int> losses = 0;
  EngineThread engine([&](const Error& error) { losses += error.code == Code::kDeviceFailed; },
                      {.tick = []() -> Result<void> {
                         throw generate::DeviceLost("it left the bus", Code::kDeviceFailed);
                       },
                       .length = std::chrono::seconds(3600),
                       .every = std::chrono::milliseconds(1)});
  engine.submit({"m", std::make_shared<Steps>()}, nullptr, nullptr, nullptr);
  wait_for([&] { return losses.load() == 1; });
  const auto late = engine.call([](models::OnEngine) { return Result<void>(); });
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::kWorkerLost);
}

TEST(Clocks, WorkIsTakenAtOnceWhileTheyAreKeptUp) {
  Counting device;
  EngineThread::Ticking ticking = device.ticking(std::chrono::seconds(3600));
  ticking.every = std::chrono::seconds(3600);
  EngineThread engine([](const Error&) {}, ticking);
  engine.submit({"m", std::make_shared<Steps>()}, nullptr, nullptr, nullptr);
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(engine.call([](models::OnEngine) { return Result<void>(); }));
  EXPECT_EQ(device.ticks->load(), 0);
}

}  // namespace
}  // namespace hearth::worker
