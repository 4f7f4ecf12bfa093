// The machine sleeps: work ends or waits, the engine process ends, and all of it goes on later.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class SuspendTest : public BrokerTest {
 protected:
  SuspendTest() {
    start_worker();
    connect(client);
    connect(root, true, 0);
    model = hold_hot_model(client, 1);
  }
  std::uint32_t suspend(std::uint32_t timeout_ms = 10'000) {
    contract::Suspend message;
    message.timeout_ms = timeout_ms;
    send(root, ++last_id, message);
    return last_id;
  }
  std::uint32_t resume() {
    send(root, ++last_id, contract::Resume{});
    return last_id;
  }
  std::uint32_t generate(const std::string& text = "hello") {
    contract::Generate message = request_for(model);
    message.messages[0].content[0].text = text;
    send(client, ++last_id, message);
    return last_id;
  }
  void answer(std::uint32_t job) { from_worker(job, generated("done")); }
  void say(std::uint32_t job) {
    contract::Token token;
    token.text = "a";
    from_worker(job, token);
  }
  std::uint32_t last_job() const { return worker.last<contract::Generate>().request_id; }
  std::vector<std::string> texts_sent() const {
    std::vector<std::string> texts;
    for (const OutFrame& frame : worker.of_type(contract::Generate::kType)) {
      const auto message = contract::unpack<contract::Generate>(bytes_of(frame.body));
      texts.push_back(message->messages[0].content[0].text);
    }
    return texts;
  }
  void worker_ends() { broker->worker_gone("it exited with status 0"); }
  std::string mode() { return status(root, ++last_id).mode; }
  // Another engine, with so many slots, and the same model hot.
  void start_again(std::uint32_t slots) {
    broker->worker_gone("for a test");
    tick_after(Milliseconds(5000));
    worker_is_ready(slots);
    contract::LoadModel load;
    load.model = model;
    send(client, ++last_id, load);
    recognise();
    finish_load();
  }
  // The engine is back and the model loaded again.
  void wake_up(std::uint32_t slots = 2) {
    root.answer<contract::Done>(resume());
    worker_is_ready(slots);
    recognise();
    finish_load();
  }

  FakeClient client, root;
  std::string model;
  std::uint32_t last_id = 100;
};

TEST_F(SuspendTest, AnIdleServiceReleasesTheDeviceUntilItIsResumed) {
  const auto suspended = suspend();
  EXPECT_EQ(worker.count<contract::StopWorker>(), 1u);
  EXPECT_EQ(root.terminals(suspended), 0u) << "the process is there still";
  EXPECT_EQ(mode(), "suspended");
  worker_ends();
  root.answer<contract::Done>(suspended);
  tick_after(std::chrono::hours(8));
  EXPECT_EQ(worker.starts, 1);
  const auto report = status(root, ++last_id);
  EXPECT_EQ(report.worker_restarts, 0u);
  EXPECT_EQ(report.memory_bytes, 0u);
  EXPECT_EQ(report.mode, "suspended");
  root.answer<contract::Done>(suspend());  // it is
  root.answer<contract::Done>(resume());
  EXPECT_EQ(worker.starts, 2);
  EXPECT_EQ(mode(), "serving");
  worker_is_ready();
  const auto asked = generate();
  recognise();
  finish_load();
  answer(last_job());
  EXPECT_EQ(client.answer<contract::Generated>(asked).text, "done");
}

TEST_F(SuspendTest, RequestsAtWorkMayEndAndOthersWaitForTheReturn) {
  const auto first = generate("first");
  const auto job = last_job();
  const auto suspended = suspend();
  const auto second = generate("second");
  EXPECT_EQ(worker.count<contract::Generate>(), 1u);
  EXPECT_EQ(worker.count<contract::StopWorker>(), 0u);
  say(job);
  answer(job);
  EXPECT_EQ(client.answer<contract::Generated>(first).text, "done");
  EXPECT_EQ(worker.count<contract::StopWorker>(), 1u);
  worker_ends();
  root.answer<contract::Done>(suspended);
  const auto third = generate("third");
  contract::CountTokens count;
  count.model = model;
  count.messages = request_for(model).messages;
  send(client, 50, count);
  tick_after(std::chrono::minutes(10));
  EXPECT_EQ(client.terminals(second) + client.terminals(third) + client.terminals(50), 0u);
  wake_up();
  EXPECT_EQ(texts_sent(), (std::vector<std::string>{"first", "second", "third"}));
  EXPECT_EQ(worker.count<contract::CountTokens>(), 1u);
}

TEST_F(SuspendTest, WhatRunsTooLongWaitsAgainIfItsCallerGotNothing) {
  start_again(4);
  generate("first");
  generate("second");
  const auto spoken = generate("spoken");
  say(last_job());
  generate("fourth");
  generate("waiting");
  const auto suspended = suspend(5000);
  tick_after(Milliseconds(4999));
  EXPECT_EQ(worker.count<contract::StopWorker>(), 0u);
  tick_after(Milliseconds(1));
  EXPECT_EQ(worker.count<contract::StopWorker>(), 1u);
  const auto error = client.answer<contract::Error>(spoken);
  EXPECT_EQ(error.code, "worker_lost");
  EXPECT_TRUE(error.retryable);
  EXPECT_EQ(broker->core().running, 0u);
  EXPECT_EQ(broker->core().queue.size(), 4u);
  worker_ends();
  root.answer<contract::Done>(suspended);
  worker.sent.clear();
  wake_up(8);
  EXPECT_EQ(texts_sent(), (std::vector<std::string>{"first", "second", "fourth", "waiting"}));
  answer(last_job());
}

TEST_F(SuspendTest, AJobWhosePicturesMayHaveChangedDoesNotRunTwice) {
  const ArenaId arena = grant_arena(client, 50);
  contract::Generate message = request_for(model);
  add_picture(message, arena);
  send(client, 51, message);
  from_worker(last_job(), contract::InputsDone{});
  send(client, 52, message);  // its pictures have not been read
  suspend(1000);
  tick_after(Milliseconds(1000));
  EXPECT_EQ(client.error_code(51), "worker_lost");
  EXPECT_EQ(client.terminals(52), 0u);
  worker_ends();
  worker.sent.clear();
  wake_up();
  EXPECT_EQ(worker.count<contract::AttachArena>(), 1u);
  EXPECT_EQ(worker.count<contract::Generate>(), 1u);
}

TEST_F(SuspendTest, WhatTheWorkerStillSaysIsNotHeard) {
  const auto asked = generate();
  const auto job = last_job();
  suspend(0);
  EXPECT_EQ(worker.count<contract::StopWorker>(), 1u);
  const std::size_t received = client.received.size();
  say(job);
  answer(job);
  worker_is_ready();
  EXPECT_EQ(client.received.size(), received);
  worker_ends();
  wake_up();
  answer(last_job());
  EXPECT_EQ(client.answer<contract::Generated>(asked).text, "done");
  EXPECT_EQ(worker.kills, 0);
}

TEST_F(SuspendTest, AnEngineThatDoesNotEndIsEndedByForce) {
  const auto suspended = suspend();
  EXPECT_TRUE(timer.will_wake_by(timer.now() + Milliseconds(3000)));
  tick_after(Milliseconds(2999));
  EXPECT_EQ(worker.kills, 0);
  tick_after(Milliseconds(1));
  EXPECT_EQ(worker.kills, 1);
  tick_after(Milliseconds(1000));
  EXPECT_EQ(worker.kills, 1);
  worker_ends();
  root.answer<contract::Done>(suspended);
}

TEST_F(SuspendTest, AnEngineThatStartsIsEndedAtOnce) {
  broker->worker_gone("for a test");
  tick_after(Milliseconds(5000));
  ASSERT_EQ(worker.starts, 2);
  const auto suspended = suspend();
  EXPECT_EQ(worker.kills, 1);
  worker_ends();
  root.answer<contract::Done>(suspended);
}

TEST_F(SuspendTest, WithoutAnEngineThereIsNothingToWaitFor) {
  broker->worker_gone("for a test");
  root.answer<contract::Done>(suspend());
  tick_after(std::chrono::hours(1));
  EXPECT_EQ(worker.starts, 1);
  root.answer<contract::Done>(resume());
  EXPECT_EQ(worker.starts, 2);
}

TEST_F(SuspendTest, AnEngineThatDiesMeanwhileIsNotStartedAgain) {
  const auto spoken = generate();
  say(last_job());
  const auto suspended = suspend();
  const auto waiting = generate();
  worker_ends();
  EXPECT_EQ(client.error_code(spoken), "worker_lost");
  EXPECT_EQ(client.terminals(waiting), 0u);
  root.answer<contract::Done>(suspended);
  tick_after(Milliseconds(60'000));
  EXPECT_EQ(worker.starts, 1);
  wake_up();
  EXPECT_EQ(worker.count<contract::Generate>(), 2u);
}

TEST_F(SuspendTest, ResumingBeforeTheEngineWasEndedGoesOnWithIt) {
  const auto running = generate();
  const auto job = last_job();
  const auto suspended = suspend();
  generate();
  root.answer<contract::Done>(resume());
  EXPECT_EQ(root.error_code(suspended), "cancelled");
  EXPECT_EQ(worker.count<contract::Generate>(), 2u);
  answer(job);
  client.answer<contract::Generated>(running);
  tick_after(Milliseconds(60'000));
  EXPECT_EQ(worker.count<contract::StopWorker>(), 0u);
}

TEST_F(SuspendTest, ResumingWhileTheEngineEndsStartsItWhenItHas) {
  const auto suspended = suspend();
  root.answer<contract::Done>(resume());
  EXPECT_EQ(root.error_code(suspended), "cancelled");
  EXPECT_EQ(worker.starts, 1);
  worker_ends();
  EXPECT_EQ(worker.starts, 2);
  EXPECT_EQ(mode(), "serving");
}

TEST_F(SuspendTest, GoesOnWhenNobodyWaitsForIt) {
  suspend();
  broker->disconnect(root.id);
  worker_ends();
  tick_after(Milliseconds(60'000));
  EXPECT_EQ(worker.starts, 1);
  EXPECT_EQ(status(client, 90).mode, "suspended");
}

TEST_F(SuspendTest, SuspendingAgainTakesTheLaterTimeLimit) {
  const auto running = generate();
  say(last_job());
  const auto first = suspend(60'000);
  const auto second = suspend(1000);
  tick_after(Milliseconds(1000));
  EXPECT_EQ(client.error_code(running), "worker_lost");
  worker_ends();
  root.answer<contract::Done>(first);
  root.answer<contract::Done>(second);
}

TEST_F(SuspendTest, AServiceThatSleepsCanBeStopped) {
  suspend();
  worker_ends();
  const auto waiting = generate();
  broker->stop("SIGTERM");
  tick_after(Milliseconds(1500));
  EXPECT_TRUE(broker->is_stopped());
  EXPECT_EQ(client.error_code(waiting), "shutting_down");
  EXPECT_EQ(worker.starts, 1);
}

TEST_F(SuspendTest, AStopWhileTheEngineEndsStartsNoOther) {
  suspend();
  resume();
  broker->stop("SIGTERM");
  worker_ends();
  tick_after(Milliseconds(60'000));
  EXPECT_EQ(worker.starts, 1);
}

TEST_F(SuspendTest, DrainingAndSleepingGoTogetherAndOneResumeEndsBoth) {
  contract::Drain drain;
  drain.timeout_ms = 60'000;
  generate();
  send(root, 60, drain);
  suspend(1000);
  EXPECT_EQ(mode(), "suspended");
  tick_after(Milliseconds(1000));
  worker_ends();
  EXPECT_EQ(client.error_code(generate()), "shutting_down");
  EXPECT_EQ(root.terminals(60), 0u) << "a request waits for the engine";
  wake_up();
  EXPECT_EQ(root.error_code(60), "cancelled");
  EXPECT_EQ(mode(), "serving");
}

TEST_F(SuspendTest, WhoUnloadsAModelMeanwhileIsAnsweredWhenItHasLeft) {
  generate();
  suspend(1000);
  contract::UnloadModel unload;
  unload.model = model;
  send(client, 70, unload);
  EXPECT_TRUE(client.answer<contract::ModelUnloaded>(70).resident);
  tick_after(Milliseconds(1000));
  worker_ends();
  EXPECT_EQ(mode(), "suspended");
}

TEST_F(SuspendTest, ACancelledRequestDoesNotComeBack) {
  const auto asked = generate();
  send(client, asked, contract::Cancel{});
  suspend(0);
  EXPECT_EQ(client.error_code(asked), "worker_lost");
  worker_ends();
  EXPECT_TRUE(broker->core().jobs.empty());
  broker->disconnect(client.id);
  broker->disconnect(root.id);
  expect_empty_ledger();
}

}  // namespace
}  // namespace hearth::broker
