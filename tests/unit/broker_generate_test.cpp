// Jobs: queued fairly, dispatched into free slots, streamed, cancelled, each ended once.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class GenerateTest : public BrokerTest {
 protected:
  void SetUp() override {
    connect(client);
    start_worker(2);
    model = hold_hot_model(client, 1000);
    request = request_for(model);
  }
  JobId last_job() const { return worker.last<contract::Generate>().request_id; }
  std::size_t dispatched() const { return worker.count<contract::Generate>(); }
  // Another client that holds the same model.
  void join(FakeClient& other) {
    connect(other);
    offer(other, 1000);
    off_loop.run_all();
  }
  void offer(FakeClient& other, std::uint32_t request_id) {
    contract::OfferModel message;
    message.labels = {"model.safetensors"};
    std::vector<Fd> fds;
    fds.push_back(folder.open("a"));
    send(other, request_id, message, std::move(fds));
  }

  FakeClient client;
  std::string model;
  contract::Generate request;
};

TEST_F(GenerateTest, EventsComeBeforeTheOneReply) {
  send(client, 1, request);
  contract::Token token;
  token.text = "red";
  from_worker(last_job(), token);
  from_worker(last_job(), contract::InputsDone{});
  from_worker(last_job(), generated("red"));
  const auto frames = client.of(1);
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames[0].type, contract::Token::kType);
  EXPECT_EQ(frames[1].type, contract::InputsDone::kType);
  EXPECT_EQ(client.answer<contract::Generated>(1).text, "red");
  from_worker(last_job(), token);  // late, and for nobody
  EXPECT_EQ(client.of(1).size(), 3u);
}

TEST_F(GenerateTest, ParametersReachTheWorkerUnchanged) {
  request.seed = 18446744073709551615ull;
  request.temperature = 0.25;
  request.stop = {"\n"};
  request.max_tokens = 7;
  send(client, 1, request);
  const auto sent =
      contract::unpack<contract::Generate>(bytes_of(worker.last<contract::Generate>().body));
  ASSERT_TRUE(sent);
  EXPECT_EQ(*sent, request);
}

TEST_F(GenerateTest, NoMoreJobsRunThanTheWorkerHasSlots) {
  for (const std::uint32_t id : {1u, 2u, 3u}) send(client, id, request);
  EXPECT_EQ(dispatched(), 2u);
  EXPECT_EQ(status(client, 50).queued, 1u);
  EXPECT_EQ(status(client, 51).running, 2u);
  from_worker(last_job(), generated("second"));
  EXPECT_EQ(dispatched(), 3u);
  EXPECT_EQ(status(client, 52).running, 2u);
}

TEST_F(GenerateTest, AFloodOfOneClientDoesNotHoldUpAnother) {
  FakeClient other;
  join(other);
  for (std::uint32_t id = 1; id <= 20; ++id) send(client, id, request);
  send(other, 1, request);
  from_worker(last_job(), generated("x"));
  from_worker(last_job(), generated("other's, or the one before"));
  from_worker(last_job(), generated("other's, or the one after"));
  EXPECT_EQ(other.terminals(1), 1u);
}

TEST_F(GenerateTest, QueuedJobIsCancelledAtOnceAndNeverSent) {
  for (const std::uint32_t id : {1u, 2u, 3u}) send(client, id, request);
  send(client, 3, contract::Cancel{});
  EXPECT_EQ(client.error_code(3), "cancelled");
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);
  from_worker(last_job(), generated("done"));
  EXPECT_EQ(dispatched(), 2u);
}

TEST_F(GenerateTest, RunningJobIsCancelledOnceAndEndsWhenTheWorkerSaysSo) {
  send(client, 1, request);
  const JobId job = last_job();
  for (int i = 0; i < 3; ++i) send(client, 1, contract::Cancel{});
  ASSERT_EQ(worker.count<contract::Cancel>(), 1u);
  EXPECT_EQ(worker.last<contract::Cancel>().request_id, job);
  EXPECT_EQ(client.terminals(1), 0u);
  contract::Error cancelled;
  cancelled.code = "cancelled";
  from_worker(job, cancelled);
  EXPECT_EQ(client.error_code(1), "cancelled");
  send(client, 1, contract::Cancel{});
  from_worker(job, generated("too late"));
  EXPECT_EQ(client.terminals(1), 1u);
}

TEST_F(GenerateTest, JobThatWaitsForALoadIsCancelledWithIt) {
  const std::string cold = hold_model(client, 5, "b");
  send(client, 1, request_for(cold));
  EXPECT_EQ(worker.count<contract::LoadModel>(), 2u);
  send(client, 1, contract::Cancel{});
  EXPECT_EQ(client.error_code(1), "cancelled");
  EXPECT_EQ(worker.count<contract::Cancel>(), 1u);
}

TEST_F(GenerateTest, ColdModelIsLoadedOnceForAllWhoWait) {
  const std::string cold = hold_model(client, 5, "b");
  for (const std::uint32_t id : {1u, 2u, 3u}) send(client, id, request_for(cold));
  EXPECT_EQ(worker.count<contract::LoadModel>(), 2u);
  EXPECT_EQ(dispatched(), 0u);
  send(client, 4, request);  // another model is hot and overtakes
  EXPECT_EQ(dispatched(), 1u);
  finish_load();
  EXPECT_EQ(dispatched(), 2u);
}

TEST_F(GenerateTest, FailedLoadEndsAllWhoWait) {
  const std::string cold = hold_model(client, 5, "b");
  for (const std::uint32_t id : {1u, 2u}) send(client, id, request_for(cold));
  contract::Error error;
  error.code = "bad_model";
  error.what = "truncated";
  from_worker(worker.last<contract::LoadModel>().request_id, error);
  EXPECT_EQ(client.answer<contract::Error>(1).what, "truncated");
  EXPECT_EQ(client.error_code(2), "bad_model");
  EXPECT_EQ(status(client, 50).queued, 0u);
}

TEST_F(GenerateTest, ReceiptTellsWaitingFromLoading) {
  const std::string cold = hold_model(client, 5, "b");
  send(client, 1, request_for(cold));
  timer.pass(Milliseconds(100));
  finish_load();
  send(client, 2, request_for(cold));
  send(client, 3, request_for(cold));
  timer.pass(Milliseconds(30));
  const std::vector<OutFrame> jobs = worker.of_type(contract::Generate::kType);
  ASSERT_EQ(jobs.size(), 2u);
  from_worker(jobs[0].request_id, contract::Token{});
  timer.pass(Milliseconds(20));
  auto reply = generated("x");
  reply.receipt.prefill_ms = 12.5;
  from_worker(jobs[0].request_id, reply);
  const auto first = client.answer<contract::Generated>(1).receipt;
  EXPECT_NEAR(first.load_ms, 100, 1e-6);
  EXPECT_NEAR(first.queue_ms, 0, 1e-6);
  EXPECT_NEAR(first.first_token_ms, 130, 1e-6);
  EXPECT_NEAR(first.total_ms, 150, 1e-6);
  EXPECT_EQ(first.prefill_ms, 12.5);
  EXPECT_EQ(first.model, cold);
  EXPECT_EQ(first.model_loads, 1u);
  from_worker(last_job(), generated("y"));
  const auto third = client.answer<contract::Generated>(3).receipt;
  EXPECT_NEAR(third.queue_ms, 50, 1e-6);
  EXPECT_NEAR(third.load_ms, 0, 1e-6);
}

TEST_F(GenerateTest, DeadClientsWorkIsDroppedOrCancelledAndItsSlotsReturn) {
  FakeClient other;
  join(other);
  for (const std::uint32_t id : {1u, 2u, 3u}) send(other, id, request);
  send(client, 1, request);
  const std::vector<OutFrame> running = worker.of_type(contract::Generate::kType);
  ASSERT_EQ(running.size(), 2u);
  broker->disconnect(other.id);
  EXPECT_EQ(worker.count<contract::Cancel>(), 2u);
  EXPECT_EQ(dispatched(), 2u);  // their slots are busy until the worker says otherwise
  contract::Error cancelled;
  cancelled.code = "cancelled";
  for (const OutFrame& job : running) from_worker(job.request_id, cancelled);
  EXPECT_EQ(dispatched(), 3u);
  from_worker(last_job(), generated("mine"));
  client.answer<contract::Generated>(1);
  EXPECT_TRUE(broker->core().jobs.empty());
}

TEST_F(GenerateTest, RequestsThatMakeNoSenseAreRefused) {
  request.stop = {"ok", ""};
  send(client, 1, request);
  EXPECT_EQ(client.error_code(1), "bad_request");
  send(client, 2, request_for("no-such-model"));
  EXPECT_EQ(client.error_code(2), "unknown_model");
  auto text_with_tensor = request_for(model);
  add_picture(text_with_tensor, 1);
  text_with_tensor.messages[0].content.back().kind = "text";
  send(client, 3, text_with_tensor);
  EXPECT_EQ(client.error_code(3), "bad_request");
  EXPECT_EQ(dispatched(), 0u);
}

TEST_F(GenerateTest, ServedAndFailedAreCounted) {
  send(client, 1, request);
  from_worker(last_job(), generated("x"));
  send(client, 2, request);
  contract::Error error;
  error.code = "too_long";
  from_worker(last_job(), error);
  const auto report = status(client, 50);
  EXPECT_EQ(report.served, 1u);
  EXPECT_EQ(report.failed, 1u);
  EXPECT_EQ(report.clients.size(), 1u);
  EXPECT_GT(report.rss_bytes, 0u);
  EXPECT_GT(report.descriptors, 2u);
}

}  // namespace
}  // namespace hearth::broker
