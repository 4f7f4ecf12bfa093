// The end of the engine process: hangs, silence, last words, and how often it is started again.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class EngineEndTest : public BrokerTest {
 protected:
  // Nobody answers pings here.
  void SetUp() override {
    Config config;
    config.heartbeat = Milliseconds(0);
    begin(config);
  }
  void begin(const Config& config) {
    make_broker(config);
    connect(client);
  }

  void beat(const std::string& phase, const std::string& model, std::uint64_t steps) {
    contract::Beat message;
    message.phase = phase;
    message.model = model;
    message.steps = steps;
    from_worker(0, message);
  }
  // A beat a second without a step, and the ticks beside them.
  void hang(const std::string& phase, const std::string& model, seconds time) {
    for (seconds passed{0}; passed < time; ++passed) {
      beat(phase, model, 7);
      tick_after(seconds(1));
    }
    beat(phase, model, 7);
  }
  void say_last_words(const std::string& cause) {
    contract::LastWords words;
    words.cause = cause;
    words.what = "cudaMemcpyAsync: an illegal memory access was encountered";
    from_worker(0, words);
  }
  // A model of its own each time, so that nobody is banned.
  void crash(std::uint32_t request_id) {
    const std::string name = "model-" + std::to_string(request_id);
    hold_hot_model(client, request_id, name);
    hold_hot_model(client, request_id + 4, name + "b");
    lose_worker();
  }
  FakeClient client;
};

TEST_F(EngineEndTest, AHangIsEndedAfterThePhasesLimitAndSaidToThoseWhoWait) {
  start_worker(1);
  const std::string model = hold_hot_model(client, 1);
  send(client, 10, request_for(model));
  hang("decode", model, seconds(299));  // ten times the limit of a GPU
  EXPECT_EQ(worker.kills, 0);
  tick_after(seconds(1));
  beat("decode", model, 7);
  EXPECT_EQ(worker.kills, 1);
  broker->worker_gone("it was ended by Killed");
  const auto error = client.answer<contract::Error>(10);
  EXPECT_EQ(error.code, "worker_lost");
  EXPECT_TRUE(error.retryable);
  EXPECT_NE(error.what.find("no progress in decode for 300 s"), std::string::npos) << error.what;
}

TEST_F(EngineEndTest, EachPhaseHasALimitOfItsOwn) {
  const std::pair<const char*, int> limits[] = {{"attach", 30},  {"load", 180},
                                                {"vision", 600}, {"prefill", 600},
                                                {"decode", 300}, {"preprocess", 30}};
  Config config;
  config.heartbeat = Milliseconds(0);
  config.restart_budget = 0;
  begin(config);
  start_worker();
  int kills = 0;
  for (const auto& [phase, limit] : limits) {
    hang(phase, "", seconds(limit - 1));
    EXPECT_EQ(worker.kills, kills) << phase;
    tick_after(seconds(1));
    beat(phase, "", 7);
    EXPECT_EQ(worker.kills, ++kills) << phase;
    lose_worker();
    come_back();
  }
}

TEST_F(EngineEndTest, SlowWorkThatMovesIsNotEnded) {
  start_worker();
  for (std::uint64_t second = 0; second < 2000; ++second) {
    beat("decode", "m", second / 250);  // a token every four minutes
    beat("load", "n", second / 170);
    tick_after(seconds(1));
  }
  EXPECT_EQ(worker.kills, 0);
}

TEST_F(EngineEndTest, AStuckLoadShowsBesideAnEngineThatAnswers) {
  start_worker();
  for (std::uint64_t second = 0; second <= 180; ++second) {
    beat("decode", "m", second);
    beat("load", "n", 5);
    tick_after(seconds(1));
  }
  EXPECT_EQ(worker.kills, 1);
}

TEST_F(EngineEndTest, SilenceIsEndedToo) {
  start_worker();
  beat("idle", "", 0);
  for (int second = 0; second < 9; ++second) tick_after(seconds(1));
  EXPECT_EQ(worker.kills, 0);
  beat("idle", "", 0);
  for (int second = 0; second < 10; ++second) tick_after(seconds(1));
  EXPECT_EQ(worker.kills, 1);
}

// Both processes slept, or the broker alone was stopped: nobody learns anything from the gap.
TEST_F(EngineEndTest, AMachineThatSleptKillsNobody) {
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  hang("decode", model, seconds(100));
  for (int times = 0; times < 4; ++times) {
    tick_after(std::chrono::hours(8));
    beat("decode", model, 7);
    tick_after(seconds(1));
  }
  EXPECT_EQ(worker.kills, 0);
  hang("decode", model, seconds(200));
  EXPECT_EQ(worker.kills, 1) << "the hang itself is still noticed";
}

TEST_F(EngineEndTest, OnlyWhatHungIsHeldAgainstItsModel) {
  start_worker(2);
  const std::string guilty = hold_hot_model(client, 1, "a");
  const std::string innocent = hold_hot_model(client, 5, "b");
  for (std::uint32_t times = 0; times < 2; ++times) {
    for (const std::string& model : {guilty, innocent}) {
      send(client, 10 + 2 * times + (model == guilty ? 0 : 1), request_for(model));
      if (times == 0) continue;
      recognise();
      finish_load();
    }
    hang("decode", guilty, seconds(300));
    EXPECT_EQ(worker.kills, static_cast<int>(times) + 1);
    lose_worker();
    come_back();
  }
  send(client, 20, request_for(guilty));
  EXPECT_EQ(client.error_code(20), "quarantined");
  send(client, 21, request_for(innocent));
  EXPECT_EQ(client.terminals(21), 0u);
}

TEST_F(EngineEndTest, LastWordsReachThoseWhoWait) {
  start_worker(1);
  const std::string model = hold_hot_model(client, 1);
  send(client, 10, request_for(model));
  say_last_words("sticky");
  EXPECT_EQ(client.terminals(10), 0u) << "the end of the process is what counts";
  broker->worker_gone("it exited with status 70");
  const auto error = client.answer<contract::Error>(10);
  EXPECT_EQ(error.code, "worker_lost");
  EXPECT_NE(error.what.find("illegal memory access"), std::string::npos) << error.what;
  EXPECT_TRUE(timer.will_wake_by(timer.now() + seconds(2)));
  come_back();
  EXPECT_EQ(status(client, 11).worker_state, "ready");
}

TEST_F(EngineEndTest, AnEngineThatIsNotReadyInTimeIsEndedAndThatIsWhatIsSaid) {
  broker->start();
  offer(client, 1);
  off_loop.run_all();
  tick_after(seconds(60));
  EXPECT_EQ(worker.kills, 1);
  EXPECT_EQ(client.terminals(1), 0u);
  contract::WorkerReady late;
  late.device.kind = "cpu";
  late.slots = 1;
  from_worker(0, late);
  EXPECT_EQ(worker.count<contract::AttachModel>(), 0u) << "nothing is given to one that ends";
  lose_worker();
  const auto error = client.answer<contract::Error>(1);
  EXPECT_EQ(error.code, "worker_lost");
  EXPECT_NE(error.what.find("not ready within 60 s"), std::string::npos) << error.what;
}

TEST_F(EngineEndTest, AnEngineThatSaysItEndsAndDoesNotIsEnded) {
  start_worker(1);
  const std::string model = hold_hot_model(client, 1);
  send(client, 10, request_for(model));
  contract::Error lost;
  lost.code = "worker_lost";
  from_worker(worker.last<contract::Generate>().request_id, lost);
  EXPECT_EQ(client.terminals(10), 0u) << "its end says it";
  beat("idle", "", 1);
  tick_after(Milliseconds(1000));
  EXPECT_EQ(worker.kills, 1);
  lose_worker();
  EXPECT_EQ(client.error_code(10), "worker_lost");
}

TEST_F(EngineEndTest, ABeatBetweenTwoTicksIsASignOfLife) {
  Config config;
  config.heartbeat = Milliseconds(0);
  config.silence.beats = Milliseconds(1000);
  begin(config);
  start_worker();
  for (int times = 0; times < 20; ++times) {
    tick_after(Milliseconds(600));
    beat("idle", "", 1);
  }
  EXPECT_EQ(worker.kills, 0);
}

TEST_F(EngineEndTest, ALostDeviceIsAnotherErrorAndTriedAgainSlowly) {
  start_worker(1);
  const std::string model = hold_hot_model(client, 1);
  send(client, 10, request_for(model));
  say_last_words("device_lost");
  broker->worker_gone("it exited with status 70");
  const auto error = client.answer<contract::Error>(10);
  EXPECT_EQ(error.code, "device_failed");
  EXPECT_FALSE(error.retryable);
  EXPECT_EQ(status(client, 11).worker_state, "failed");
  send(client, 12, request_for(model));
  EXPECT_EQ(client.error_code(12), "device_failed") << "nobody hangs";
  const int starts = worker.starts;
  tick_after(seconds(29));
  EXPECT_EQ(worker.starts, starts);
  tick_after(seconds(1));
  EXPECT_EQ(worker.starts, starts + 1);
}

TEST_F(EngineEndTest, ADeviceThatIsLostAfterALongLifeIsTriedAgainSlowlyToo) {
  start_worker(1);
  for (int second = 0; second < 60; ++second) {
    tick_after(seconds(1));
    beat("idle", "", 0);
  }
  say_last_words("device_lost");
  broker->worker_gone("it exited with status 70");
  const int starts = worker.starts;
  tick_after(seconds(29));
  EXPECT_EQ(worker.starts, starts);
  tick_after(seconds(1));
  EXPECT_EQ(worker.starts, starts + 1);
}

TEST_F(EngineEndTest, AfterThreeEndsInTenMinutesTheFourthIsNotFollowedByAnother) {
  start_worker();
  for (std::uint32_t death = 1; death <= 3; ++death) {
    crash(10 * death);
    come_back();
  }
  const std::string model = hold_hot_model(client, 50, "model-50");
  crash(60);
  EXPECT_EQ(status(client, 70).worker_state, "failed");
  send(client, 71, request_for(model));
  const auto error = client.answer<contract::Error>(71);
  EXPECT_EQ(error.code, "device_failed");
  EXPECT_NE(error.what.find("more than 3 times"), std::string::npos) << error.what;
  const int starts = worker.starts;
  tick_after(minutes(9));
  EXPECT_EQ(worker.starts, starts);
  tick_after(minutes(1));
  EXPECT_EQ(worker.starts, starts + 1) << "after a long pause it is tried again";
  EXPECT_EQ(status(client, 72).worker_state, "restarting");
  send(client, 73, request_for(model));
  EXPECT_EQ(client.terminals(73), 0u) << "it waits for the engine that starts";
}

TEST_F(EngineEndTest, EndsThatAreFarApartAreAlwaysFollowedByAnother) {
  start_worker();
  for (std::uint32_t death = 1; death <= 8; ++death) {
    crash(10 * death);
    come_back();
    EXPECT_EQ(status(client, 200 + death).worker_state, "ready");
    tick_after(minutes(4));
  }
}

TEST_F(EngineEndTest, WhoLooksAfterTheServiceEndsThePause) {
  start_worker();
  for (std::uint32_t death = 1; death <= 4; ++death) {
    crash(10 * death);
    if (death < 4) come_back();
  }
  ASSERT_EQ(status(client, 70).worker_state, "failed");
  FakeClient root;
  connect(root, true, 0);
  send(root, 1, contract::Resume{});
  root.answer<contract::Done>(1);
  tick_after(Milliseconds(0));
  worker_is_ready();
  EXPECT_EQ(status(client, 71).worker_state, "ready");
}

TEST_F(EngineEndTest, EndsOfAQuarantinedModelAloneDoNotCount) {
  RestartBudget budget;
  Quarantine quarantine;
  const TimePoint now = timer.now();
  const std::pair<std::string, Op> poison = {"poison", Op::kGenerate};
  for (int death = 0; death < 2; ++death) {
    quarantine.died(poison.first, poison.second, true, now);
    budget.died(poison, now);
  }
  for (int death = 0; death < 3; ++death) budget.died(std::nullopt, now);
  EXPECT_FALSE(budget.is_spent(3, quarantine, now));
  budget.died(std::nullopt, now);
  EXPECT_TRUE(budget.is_spent(3, quarantine, now));
  EXPECT_FALSE(budget.is_spent(0, quarantine, now));
  EXPECT_FALSE(budget.is_spent(3, quarantine, now + minutes(11)));
}

// One poisoned model, offered again and again, and somebody else's ends beside it.
TEST_F(EngineEndTest, EndsOfAModelThatWasRefusedDoNotCountWhenItIsTriedAgain) {
  start_worker();
  const std::string poison = hold_hot_model(client, 1, "poison");
  for (std::uint32_t death = 0; death < 2; ++death) {
    send(client, 10 + death, request_for(poison));
    if (death > 0) {
      recognise();
      finish_load();
    }
    lose_worker();
    come_back();
  }
  tick_after(Quarantine::kPatience);
  contract::OfferModel again;  // for one more try
  again.labels = {"model.safetensors"};
  std::vector<Fd> fds;
  fds.push_back(folder.open("poison"));
  send(client, 20, again, std::move(fds));
  off_loop.run_all();
  recognise();
  EXPECT_EQ(client.answer<contract::ModelOffered>(20).model, poison);
  for (std::uint32_t death = 0; death < 2; ++death) {
    crash(30 + 10 * death);
    EXPECT_NE(status(client, 60 + death).worker_state, "failed") << death;
    come_back();
  }
}

TEST_F(EngineEndTest, ACountThatEndsTheEngineIsHeldAgainstItsModel) {
  start_worker();
  contract::CountTokens count;
  count.model = hold_model(client, 1);
  count.messages = request_for(count.model).messages;
  for (std::uint32_t death = 0; death < 2; ++death) {
    send(client, 10 + death, count);
    if (death > 0) recognise();
    ASSERT_EQ(worker.count<contract::CountTokens>(), 1u + death);
    lose_worker();
    EXPECT_EQ(client.error_code(10 + death), "worker_lost");
    come_back();
  }
  send(client, 20, count);
  EXPECT_EQ(client.error_code(20), "quarantined");
}

TEST_F(EngineEndTest, TheWatchdogIsPingedWhateverTheEngineDoes) {
  start_worker();
  EXPECT_TRUE(broker->is_healthy());
  hang("decode", "m", seconds(310));
  EXPECT_EQ(worker.kills, 1);
  EXPECT_TRUE(broker->is_healthy());
  lose_worker();
  EXPECT_TRUE(broker->is_healthy());
  timer.pass(seconds(60));  // nobody ticks, and the engine should have been started
  EXPECT_FALSE(broker->is_healthy());
}

// --- a request that lacks memory ---

contract::Error full(bool wants_room) {
  contract::Error error;
  error.code = "out_of_memory";
  error.what = "CUDA error 2";
  error.retryable = wants_room;
  return error;
}

TEST_F(EngineEndTest, ARequestThatLacksMemoryIsTriedOnceMoreWhenAnIdleModelHasLeft) {
  start_worker(1);
  hold_hot_model(client, 1, "idle");
  const std::string model = hold_hot_model(client, 5, "wanted");
  send(client, 10, request_for(model));
  from_worker(worker.last<contract::Generate>().request_id, full(true));
  EXPECT_EQ(client.terminals(10), 0u);
  EXPECT_EQ(worker.count<contract::UnloadModel>(), 1u);
  EXPECT_EQ(worker.count<contract::Generate>(), 1u) << "not before there is room";
  finish_unload();
  ASSERT_EQ(worker.count<contract::Generate>(), 2u);
  from_worker(worker.last<contract::Generate>().request_id, generated("after all"));
  EXPECT_EQ(client.answer<contract::Generated>(10).text, "after all");
}

TEST_F(EngineEndTest, ARequestThatLacksMemoryTwiceFailsWithThoseWhoHoldIt) {
  start_worker(1);
  const std::string model = hold_hot_model(client, 5, "wanted");
  send(client, 10, request_for(model));
  from_worker(worker.last<contract::Generate>().request_id, full(true));
  ASSERT_EQ(worker.count<contract::Generate>(), 2u);
  from_worker(worker.last<contract::Generate>().request_id, full(true));
  const auto error = client.answer<contract::Error>(10);
  EXPECT_EQ(error.code, "out_of_memory");
  EXPECT_FALSE(error.retryable);
  EXPECT_NE(error.what.find("Held: "), std::string::npos) << error.what;
}

TEST_F(EngineEndTest, ARequestThatIsTooLargeByItselfMovesNobody) {
  start_worker(1);
  hold_hot_model(client, 1, "idle");
  const std::string model = hold_hot_model(client, 5, "wanted");
  send(client, 10, request_for(model));
  from_worker(worker.last<contract::Generate>().request_id, full(false));
  EXPECT_EQ(client.answer<contract::Error>(10).what, "CUDA error 2");
  EXPECT_EQ(worker.count<contract::UnloadModel>(), 0u);
}

TEST_F(EngineEndTest, ARequestThatHasSpokenIsNotTriedAgain) {
  start_worker(1);
  hold_hot_model(client, 1, "idle");
  const std::string model = hold_hot_model(client, 5, "wanted");
  send(client, 10, request_for(model));
  const JobId job = worker.last<contract::Generate>().request_id;
  contract::Token token;
  token.text = "once upon";
  from_worker(job, token);
  from_worker(job, full(true));
  EXPECT_EQ(client.answer<contract::Error>(10).code, "out_of_memory");
  EXPECT_EQ(worker.count<contract::Generate>(), 1u);
  EXPECT_EQ(worker.count<contract::UnloadModel>(), 1u) << "the next one finds room";
}

}  // namespace
}  // namespace hearth::broker
