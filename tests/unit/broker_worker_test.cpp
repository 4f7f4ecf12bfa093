// The engine process: started, lost, restarted; and the end of the service.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class WorkerTest : public BrokerTest {
 protected:
  void SetUp() override { connect(client); }
  void refuse_to_start(const std::string& what) {
    contract::Error refusal;
    refusal.code = "unsupported";
    refusal.what = what;
    refusal.hint = "Update the driver.";
    from_worker(0, refusal);
    broker->worker_gone("it exited with status 2");
  }
  FakeClient client;
};

TEST_F(WorkerTest, RequestsWaitForTheFirstWorker) {
  broker->start();
  offer(client, 1);
  off_loop.run_all();
  EXPECT_EQ(status(client, 2).worker_state, "starting");
  EXPECT_TRUE(worker.sent.empty());
  worker_is_ready();
  recognise();
  client.answer<contract::ModelOffered>(1);
  const auto report = status(client, 3);
  EXPECT_EQ(report.worker_state, "ready");
  EXPECT_EQ(report.slots, 2u);
  EXPECT_EQ(report.devices.at(0).kind, "cpu");
}

TEST_F(WorkerTest, EveryOpenJobEndsWithARetryableError) {
  start_worker(1);
  const std::string model = hold_hot_model(client, 1);
  send(client, 10, request_for(model));  // runs
  send(client, 11, request_for(model));  // waits for the slot
  const std::string cold = hold_model(client, 3, "b");
  load(client, 12, cold);
  offer(client, 13, "c");
  off_loop.run_all();
  lose_worker();
  for (const std::uint32_t id : {10u, 11u, 12u, 13u}) {
    const auto error = client.answer<contract::Error>(id);
    EXPECT_EQ(error.code, "worker_lost") << id;
    EXPECT_TRUE(error.retryable);
    EXPECT_GT(error.retry_after_ms, 0u);
  }
  EXPECT_FALSE(client.closed);
  EXPECT_EQ(broker->core().running, 0u);
}

TEST_F(WorkerTest, ModelsAreColdAfterwardsAndComeBackOnDemand) {
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  lose_worker();
  const auto lost = status(client, 3);
  EXPECT_EQ(lost.worker_state, "restarting");
  EXPECT_EQ(lost.worker_restarts, 1u);
  EXPECT_EQ(lost.models.at(0).state, "cold");
  EXPECT_EQ(lost.models.at(0).resident_bytes, 0u);
  come_back();
  EXPECT_EQ(worker.count<contract::AttachModel>(), 1u);  // nobody asked for it yet
  send(client, 4, request_for(model));
  recognise();
  finish_load();
  from_worker(worker.last<contract::Generate>().request_id, generated("again"));
  EXPECT_EQ(client.answer<contract::Generated>(4).receipt.model_loads, 2u);
}

TEST_F(WorkerTest, RestartsBackOffUpToFiveSeconds) {
  broker->start();
  Milliseconds expected(100);
  for (int i = 0; i < 10; ++i) {
    const int starts = worker.starts;
    lose_worker();
    EXPECT_TRUE(timer.will_wake_by(timer.now() + expected));
    tick_after(expected - Milliseconds(1));
    EXPECT_EQ(worker.starts, starts);
    tick_after(Milliseconds(1));
    EXPECT_EQ(worker.starts, starts + 1);
    expected = std::min(expected * 2, Milliseconds(5000));
  }
  EXPECT_EQ(status(client, 1).worker_state, "failed");
  worker_is_ready();
  tick_after(Milliseconds(20'000));
  lose_worker();  // after a healthy life the patience is new
  EXPECT_TRUE(timer.will_wake_by(timer.now() + Milliseconds(100)));
}

TEST_F(WorkerTest, ProgramThatCannotBeStartedIsTriedAgain) {
  worker.startable = false;
  broker->start();
  offer(client, 5);
  off_loop.run_all();
  EXPECT_EQ(client.terminals(5), 0u);
  tick_after(Milliseconds(100));
  EXPECT_EQ(client.error_code(5), "worker_lost");
  worker.startable = true;
  tick_after(Milliseconds(200));
  EXPECT_EQ(worker.starts, 1);
  worker_is_ready();
  EXPECT_EQ(status(client, 1).worker_state, "ready");
}

TEST_F(WorkerTest, WorkerThatIsNotReadyInAMinuteIsEnded) {
  broker->start();
  tick_after(Milliseconds(59'000));
  EXPECT_EQ(worker.kills, 0);
  tick_after(Milliseconds(1'000));
  EXPECT_EQ(worker.kills, 1);
  lose_worker();
  tick_after(Milliseconds(100));
  EXPECT_EQ(worker.starts, 2);
}

TEST_F(WorkerTest, WorkerThatTalksNonsenseIsEnded) {
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  send(client, 5, request_for(model));
  const JobId job = worker.last<contract::Generate>().request_id;
  broker->receive_from_worker(InFrame{contract::Ping::kType, job, "\x80", {}});
  EXPECT_EQ(worker.kills, 1);
  broker->receive_from_worker(InFrame{contract::WorkerReady::kType, 0, "junk", {}});
  EXPECT_EQ(worker.kills, 1) << "it is on its way already";
}

TEST_F(WorkerTest, WorkerThatIsReadyTwiceIsEnded) {
  start_worker();
  EXPECT_EQ(worker.kills, 0);
  worker_is_ready();
  EXPECT_EQ(worker.kills, 1);
}

TEST_F(WorkerTest, WorkerMaySayOnceWhatItMeasuredOfItsDevice) {
  start_worker();
  contract::WorkerReady again = broker->core().engine;
  again.device.bandwidth_bytes_per_s = 21'000'000'000;
  from_worker(0, again);
  EXPECT_EQ(worker.kills, 0);
  EXPECT_EQ(broker->core().engine.device.bandwidth_bytes_per_s, 21'000'000'000U);
  from_worker(0, again);
  EXPECT_EQ(worker.kills, 1);
}

TEST_F(WorkerTest, WorkerThatBecomesAnotherOneIsEnded) {
  start_worker();
  contract::WorkerReady again = broker->core().engine;
  again.device.bandwidth_bytes_per_s = 21'000'000'000;
  again.slots += 1;
  from_worker(0, again);
  EXPECT_EQ(worker.kills, 1);
}

TEST_F(WorkerTest, WorkerThatAnswersAnotherQuestionIsEnded) {
  start_worker();
  offer(client, 1);
  off_loop.run_all();
  const OutFrame asked = worker.last<contract::AttachModel>();
  contract::ModelLoaded reply;
  reply.model = contract::unpack<contract::AttachModel>(bytes_of(asked.body))->model;
  from_worker(asked.request_id, reply);
  EXPECT_EQ(worker.kills, 1);
}

TEST_F(WorkerTest, ReasonOfAnEngineThatCannotStartReachesThoseWhoWait) {
  broker->start();
  offer(client, 1);
  off_loop.run_all();
  refuse_to_start("the NVIDIA driver is too old");
  const auto error = client.answer<contract::Error>(1);
  EXPECT_EQ(error.code, "unsupported");
  EXPECT_EQ(error.what, "the NVIDIA driver is too old");
  EXPECT_EQ(error.hint, "Update the driver.");
  EXPECT_FALSE(error.retryable);
  EXPECT_EQ(status(client, 2).worker_state, "failed");
  offer(client, 3);  // comes while nobody tries
  off_loop.run_all();
  EXPECT_EQ(client.error_code(3), "unsupported");
  EXPECT_EQ(broker->core().models.open_files(), 0u);
}

TEST_F(WorkerTest, EngineThatCannotStartIsTriedAgainSlowly) {
  broker->start();
  for (int starts = 1; starts < 4; ++starts) {
    refuse_to_start("no GPU");
    tick_after(Milliseconds(29'999));
    EXPECT_EQ(worker.starts, starts);
    tick_after(Milliseconds(1));
    EXPECT_EQ(worker.starts, starts + 1);
  }
  worker_is_ready();
  EXPECT_EQ(status(client, 1).worker_state, "ready");
  const std::string model = hold_hot_model(client, 2);
  send(client, 10, request_for(model));
  lose_worker();
  EXPECT_EQ(client.error_code(10), "worker_lost");
}

TEST_F(WorkerTest, FileThatChangedIsNotServedByTheNextWorker) {
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  lose_worker();
  folder.write("a", "other weights, and more of them");
  come_back();
  for (const std::uint32_t id : {10u, 11u}) {
    send(client, id, request_for(model));
    off_loop.run_all();
    EXPECT_EQ(client.error_code(id), "model_changed");
  }
  EXPECT_EQ(worker.count<contract::AttachModel>(), 1u);
}

TEST_F(WorkerTest, FileThatChangedBeforeTheFirstWorkerIsNotServed) {
  broker->start();
  offer(client, 1);
  off_loop.run_all();
  folder.write("a", "other weights, and more of them");
  worker_is_ready();
  EXPECT_EQ(client.error_code(1), "model_changed");
  EXPECT_TRUE(worker.sent.empty());
}

TEST_F(WorkerTest, FilesThatDoNotAnswerTheNextWorkerEndTheRequest) {
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  lose_worker();
  come_back();
  send(client, 10, request_for(model));
  EXPECT_EQ(worker.count<contract::AttachModel>(), 1u);
  tick_after(Milliseconds(4900));
  EXPECT_EQ(client.terminals(10), 0u);
  tick_after(Milliseconds(200));
  EXPECT_EQ(client.error_code(10), "bad_model");
  EXPECT_EQ(off_loop.abandoned, 1);
}

TEST_F(WorkerTest, ExaminationOfALostWorkerIsForgotten) {
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  lose_worker();
  come_back();
  send(client, 10, request_for(model));
  lose_worker();
  EXPECT_EQ(client.error_code(10), "worker_lost");
  come_back();  // the late answer finds nobody
  EXPECT_EQ(worker.count<contract::AttachModel>(), 1u);
  send(client, 11, request_for(model));
  recognise();
  finish_load();
  EXPECT_EQ(worker.count<contract::Generate>(), 1u);
}

TEST_F(WorkerTest, UnloadWaitingForALostWorkerIsDone) {
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  contract::UnloadModel unload;
  unload.model = model;
  send(client, 5, unload);
  lose_worker();
  EXPECT_FALSE(client.answer<contract::ModelUnloaded>(5).resident);
  EXPECT_EQ(broker->core().models.open_files(), 0u);
}

TEST_F(WorkerTest, StopSaysGoodbyeAndEndsAtOnceWhenIdle) {
  start_worker();
  broker->stop("test");
  EXPECT_EQ(client.received.back().type, contract::Goaway::kType);
  EXPECT_TRUE(client.closed);
  EXPECT_TRUE(broker->is_stopped());
  EXPECT_EQ(worker.count<contract::StopWorker>(), 1u);
  lose_worker();
  tick_after(Milliseconds(10'000));
  EXPECT_EQ(worker.starts, 1);
}

TEST_F(WorkerTest, StopLetsOpenRequestsEndButTakesNoNewOnes) {
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  send(client, 10, request_for(model));
  broker->stop("test");
  EXPECT_FALSE(broker->is_stopped());
  send(client, 11, request_for(model));
  EXPECT_EQ(client.error_code(11), "shutting_down");
  send(client, 12, contract::Ping{});
  client.answer<contract::Pong>(12);
  from_worker(worker.last<contract::Generate>().request_id, generated("in time"));
  client.answer<contract::Generated>(10);
  EXPECT_TRUE(broker->is_stopped());
}

TEST_F(WorkerTest, StopEndsWhatTakesTooLong) {
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  send(client, 10, request_for(model));
  broker->stop("test");
  tick_after(Milliseconds(1400));
  EXPECT_EQ(client.terminals(10), 0u);
  tick_after(Milliseconds(200));
  EXPECT_EQ(client.error_code(10), "shutting_down");
  EXPECT_TRUE(client.closed);
  EXPECT_TRUE(broker->is_stopped());
}

TEST_F(WorkerTest, StopDoesNotWaitForClientsThatLeave) {
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  send(client, 10, request_for(model));
  broker->stop("test");
  broker->disconnect(client.id);
  EXPECT_TRUE(broker->is_stopped());
}

}  // namespace
}  // namespace hearth::broker
