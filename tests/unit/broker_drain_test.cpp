// Drained: no new requests, the open ones end; and everything that can happen meanwhile.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class DrainTest : public BrokerTest {
 protected:
  DrainTest() {
    start_worker();
    connect(client);
    connect(root, true, 0);
    model = hold_hot_model(client, 1);
  }
  std::uint32_t drain(std::uint32_t timeout_ms = 10'000, const std::string& then = "stay") {
    contract::Drain message;
    message.timeout_ms = timeout_ms;
    message.then = then;
    send(root, ++last_id, message);
    return last_id;
  }
  std::uint32_t generate() {
    send(client, ++last_id, request_for(model));
    return last_id;
  }
  void answer_last() {
    from_worker(worker.last<contract::Generate>().request_id, generated("done"));
  }
  std::uint32_t resume() {
    send(root, ++last_id, contract::Resume{});
    return last_id;
  }
  std::string mode() { return status(root, ++last_id).mode; }

  FakeClient client, root;
  std::string model;
  std::uint32_t last_id = 100;
};

TEST_F(DrainTest, TakesNoNewRequestsAndIsDoneWhenTheOpenOnesHaveEnded) {
  const auto open = generate();
  const auto drained = drain();
  EXPECT_EQ(mode(), "draining");
  const auto error = client.answer<contract::Error>(generate());
  EXPECT_EQ(error.code, "shutting_down");
  EXPECT_TRUE(error.retryable);
  EXPECT_GT(error.retry_after_ms, 0u);
  EXPECT_NE(error.what.find("paused"), std::string::npos);
  EXPECT_EQ(root.terminals(drained), 0u);
  answer_last();
  EXPECT_EQ(client.answer<contract::Generated>(open).text, "done");
  EXPECT_EQ(root.answer<contract::Done>(drained).text, "Nothing is open.");
  EXPECT_EQ(mode(), "drained");
  tick_after(std::chrono::hours(1));
  EXPECT_EQ(client.error_code(generate()), "shutting_down");
  EXPECT_FALSE(client.closed);
  root.answer<contract::Done>(resume());
  EXPECT_EQ(mode(), "serving");
  EXPECT_EQ(client.terminals(generate()), 0u);
}

TEST_F(DrainTest, WhatLooksGivesBackOrLooksAfterTheServiceIsServedMeanwhile) {
  generate();
  drain();
  send(client, 50, contract::Ping{});
  client.answer<contract::Pong>(50);
  send(client, 51, contract::ListJobs{});
  EXPECT_EQ(client.answer<contract::JobList>(51).jobs.size(), 1u);
  send(client, 52, contract::FreeMemory{});
  client.answer<contract::MemoryFreed>(52);
  contract::UnloadModel unload;
  unload.model = model;
  send(client, 53, unload);
  EXPECT_TRUE(client.answer<contract::ModelUnloaded>(53).resident);
  contract::ArenaAsk ask;
  ask.nbytes = 65536;
  send(client, 54, ask);
  EXPECT_EQ(client.error_code(54), "shutting_down");
}

TEST_F(DrainTest, WhatIsOpenAfterTheTimeEndsWithShuttingDown) {
  const auto running = generate();
  generate();
  const auto waiting = generate();  // two slots
  contract::LoadModel load;
  load.model = hold_model(client, 10, "b");
  send(client, 12, load);
  const auto drained = drain(5000);
  EXPECT_TRUE(timer.will_wake_by(timer.now() + Milliseconds(5000)));
  tick_after(Milliseconds(4999));
  EXPECT_EQ(root.terminals(drained), 0u);
  tick_after(Milliseconds(1));
  for (const std::uint32_t id : {running, waiting, 12u})
    EXPECT_EQ(client.error_code(id), "shutting_down");
  EXPECT_NE(root.answer<contract::Done>(drained).text.find("4 open requests"), std::string::npos);
  EXPECT_EQ(mode(), "drained");
  EXPECT_EQ(worker.count<contract::Cancel>(), 3u);  // two jobs and the load
  answer_last();                                    // too late
  EXPECT_EQ(client.terminals(waiting), 1u);
}

TEST_F(DrainTest, WorkOffTheLoopIsNoticedToo) {
  contract::ArenaAsk ask;
  ask.nbytes = 65536;
  send(client, 50, ask);
  const auto drained = drain();
  off_loop.run_all();
  client.answer<contract::ArenaGrant>(50);
  EXPECT_EQ(root.terminals(drained), 0u);
  EXPECT_TRUE(timer.will_wake_by(timer.now() + Milliseconds(100)));
  tick_after(Milliseconds(100));
  root.answer<contract::Done>(drained);
}

TEST_F(DrainTest, AJobWhoseCallerMayComeBackIsWaitedFor) {
  contract::Generate message = request_for(model);
  message.key = "a key";
  send(client, 50, message);
  broker->disconnect(client.id);
  const auto drained = drain(5000);
  EXPECT_EQ(root.terminals(drained), 0u);
  answer_last();
  root.answer<contract::Done>(drained);
}

TEST_F(DrainTest, DrainingAgainJoinsAndTheLaterTimeLimitCounts) {
  const auto open = generate();
  const auto first = drain(60'000);
  const auto second = drain(1000);
  tick_after(Milliseconds(1000));
  EXPECT_EQ(client.error_code(open), "shutting_down");
  root.answer<contract::Done>(first);
  root.answer<contract::Done>(second);
  root.answer<contract::Done>(drain());  // it is
}

TEST_F(DrainTest, ResumingEndsItForThoseWhoWait) {
  const auto open = generate();
  const auto drained = drain();
  root.answer<contract::Done>(resume());
  EXPECT_EQ(root.error_code(drained), "cancelled");
  answer_last();
  client.answer<contract::Generated>(open);
  tick_after(Milliseconds(20'000));
  EXPECT_EQ(client.terminals(generate()), 0u);
  EXPECT_NE(root.answer<contract::Done>(resume()).text.find("already"), std::string::npos);
}

TEST_F(DrainTest, GoesOnWhenNobodyWaitsForIt) {
  const auto open = generate();
  const auto drained = drain(5000);
  send(root, drained, contract::Cancel{});
  EXPECT_EQ(root.error_code(drained), "cancelled");
  EXPECT_EQ(mode(), "draining");
  drain(5000);
  broker->disconnect(root.id);
  EXPECT_EQ(status(client, 90).mode, "draining");
  tick_after(Milliseconds(5000));
  EXPECT_EQ(client.error_code(open), "shutting_down");
  EXPECT_EQ(status(client, 91).mode, "drained");
}

TEST_F(DrainTest, ThenStopTellsClientsAndEndsTheServiceWhenNothingIsOpen) {
  int stops = 0;
  broker->on_stop([&] { ++stops; });
  const auto open = generate();
  const auto drained = drain(10'000, "stop");
  const auto goaway = contract::unpack<contract::Goaway>(bytes_of(client.received.back().body));
  ASSERT_EQ(client.received.back().type, contract::Goaway::kType);
  EXPECT_EQ(goaway->drain_ms, 10'000u);
  FakeClient late;
  connect(late);
  EXPECT_EQ(late.received.back().type, contract::Goaway::kType);
  EXPECT_EQ(status(late, 5).mode, "draining");
  const auto error = client.answer<contract::Error>(generate());
  EXPECT_EQ(error.code, "shutting_down");
  EXPECT_NE(error.what.find("ends"), std::string::npos);
  answer_last();
  client.answer<contract::Generated>(open);
  root.answer<contract::Done>(drained);
  EXPECT_EQ(stops, 1);
  EXPECT_TRUE(broker->is_stopped());
  EXPECT_TRUE(client.closed);
  EXPECT_EQ(worker.count<contract::StopWorker>(), 1u);
}

TEST_F(DrainTest, AServiceThatIsDrainedCanBeStoppedByDrainingAgain) {
  root.answer<contract::Done>(drain());
  EXPECT_FALSE(broker->is_stopped());
  root.answer<contract::Done>(drain(1000, "stop"));
  EXPECT_TRUE(broker->is_stopped());
}

TEST_F(DrainTest, ASignalToStopShortensIt) {
  const auto open = generate();
  const auto drained = drain(60'000, "stay");
  broker->stop("SIGTERM");
  EXPECT_EQ(mode(), "stopping");
  EXPECT_EQ(root.error_code(drain()), "shutting_down");
  EXPECT_EQ(root.error_code(resume()), "shutting_down");
  tick_after(Milliseconds(1500));
  EXPECT_TRUE(broker->is_stopped());
  EXPECT_EQ(client.error_code(open), "shutting_down");
  EXPECT_EQ(root.error_code(drained), "shutting_down");
}

TEST_F(DrainTest, WhoWaitsIsAnsweredWhenTheServiceStopsBecauseNothingIsOpen) {
  generate();
  const auto drained = drain(60'000);
  broker->stop("SIGTERM");
  answer_last();
  EXPECT_TRUE(broker->is_stopped());
  root.answer<contract::Done>(drained);
}

TEST_F(DrainTest, NobodyWaitsForTheServiceItselfWhenItStops) {
  drain(60'000);
  broker->stop("SIGTERM");
  EXPECT_TRUE(broker->is_stopped());
}

}  // namespace
}  // namespace hearth::broker
