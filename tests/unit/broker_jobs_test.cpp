// What is at work, seen and ended from outside; connections that are closed by an administrator.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class JobsTest : public BrokerTest {
 protected:
  JobsTest() {
    start_worker(1);
    connect(client);
    connect(other, true, 1001);
    connect(root, true, 0);
    model = hold_hot_model(client, 1);
    EXPECT_EQ(hold_same_model(other, 1), model);
  }
  contract::JobList list(FakeClient& asker) {
    send(asker, ++last_id, contract::ListJobs{});
    return asker.answer<contract::JobList>(last_id);
  }
  std::uint32_t cancel(FakeClient& asker, std::uint32_t job) {
    contract::CancelJob message;
    message.job = job;
    send(asker, ++last_id, message);
    return last_id;
  }
  std::uint32_t kick(FakeClient& asker, ConnectionId connection) {
    contract::KickClient message;
    message.connection = connection;
    send(asker, ++last_id, message);
    return last_id;
  }
  void say(std::uint32_t job, int n_tokens) {
    contract::Token token;
    token.text = "a";
    token.token_ids.assign(4 * static_cast<std::size_t>(n_tokens), '\1');
    from_worker(job, token);
  }
  static contract::Encode encode_request(const std::string& model) {
    contract::Encode message;
    message.model = model;
    message.messages = request_for(model).messages;
    message.layers = {-1};
    return message;
  }

  FakeClient client, other, root;
  std::string model;
  std::uint32_t last_id = 1000;
};

TEST_F(JobsTest, AreListedRunningFirstThenInTheOrderInWhichTheyAreServed) {
  send(client, 10, request_for(model));
  send(client, 11, request_for(model));
  send(other, 10, encode_request(model));
  timer.pass(Milliseconds(300));
  const auto running = worker.last<contract::Generate>().request_id;
  say(running, 2);
  say(running, 1);
  const auto jobs = list(root).jobs;
  ASSERT_EQ(jobs.size(), 3u);
  EXPECT_EQ(jobs[0].job, running);
  EXPECT_EQ(jobs[0].state, "running");
  EXPECT_EQ(jobs[0].kind, "generate");
  EXPECT_EQ(jobs[0].tokens, 3u);
  EXPECT_EQ(jobs[0].running_ms, 300u);
  EXPECT_EQ(jobs[0].waited_ms, 0u);
  EXPECT_EQ(jobs[0].connection, client.id);
  EXPECT_EQ(jobs[0].client, "test");
  EXPECT_EQ(jobs[0].pid, 4711);
  EXPECT_EQ(jobs[0].model, model);
  EXPECT_EQ(jobs[0].name, "a");
  const auto order = broker->core().queue.order();
  for (const std::size_t i : {1u, 2u}) {
    EXPECT_EQ(jobs[i].job, order[i - 1]);
    EXPECT_EQ(jobs[i].state, "queued");
    EXPECT_EQ(jobs[i].place, i - 1);
    EXPECT_EQ(jobs[i].waited_ms, 300u);
  }
  EXPECT_TRUE(jobs[1].kind == "encode" || jobs[2].kind == "encode");
}

TEST_F(JobsTest, AreThoseOfOnesOwnUserUnlessOneIsAnAdministrator) {
  send(client, 10, request_for(model));
  send(other, 10, request_for(model));
  FakeClient same_user;
  connect(same_user);
  ASSERT_EQ(list(same_user).jobs.size(), 1u);
  EXPECT_EQ(list(same_user).jobs[0].uid, 1000u);
  ASSERT_EQ(list(other).jobs.size(), 1u);
  EXPECT_EQ(list(other).jobs[0].state, "queued");
  EXPECT_EQ(list(other).jobs[0].place, 0u);
  EXPECT_EQ(list(root).jobs.size(), 2u);
}

TEST_F(JobsTest, LoadsAndCountsAreListedToo) {
  const std::string cold = hold_model(client, 20, "b");
  contract::LoadModel load;
  load.model = cold;
  send(client, 22, load);
  contract::CountTokens count;
  count.model = cold;
  count.messages = request_for(cold).messages;
  send(client, 23, count);
  auto jobs = list(client).jobs;
  ASSERT_EQ(jobs.size(), 2u);
  if (jobs[0].kind != "load") std::swap(jobs[0], jobs[1]);
  EXPECT_EQ(jobs[0].kind, "load");
  EXPECT_EQ(jobs[0].state, "loading");
  EXPECT_EQ(jobs[1].kind, "count_tokens");
  EXPECT_EQ(jobs[1].state, "running");
  client.answer<contract::Done>(cancel(client, jobs[0].job));
  EXPECT_EQ(client.error_code(22), "cancelled");
  EXPECT_EQ(worker.count<contract::Cancel>(), 1u);  // the load's
  client.answer<contract::Done>(cancel(client, jobs[1].job));
  EXPECT_EQ(client.error_code(23), "cancelled");
  EXPECT_TRUE(list(client).jobs.empty());
}

TEST_F(JobsTest, AreEndedByAnotherProgramOfTheSameUserWhichIsNamed) {
  send(client, 10, request_for(model));
  send(client, 11, request_for(model));
  FakeClient same_user;
  connect(same_user);
  const auto jobs = list(same_user).jobs;
  same_user.answer<contract::Done>(cancel(same_user, jobs[1].job));
  const auto error = client.answer<contract::Error>(11);
  EXPECT_EQ(error.code, "cancelled");
  EXPECT_NE(error.what.find("test (process 4711)"), std::string::npos) << error.what;
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);

  same_user.answer<contract::Done>(cancel(same_user, jobs[0].job));
  EXPECT_EQ(client.error_code(10), "cancelled");
  EXPECT_EQ(worker.last<contract::Cancel>().request_id, jobs[0].job);
  EXPECT_EQ(broker->core().running, 1u);  // the slot is the worker's until it agrees
  contract::Error agreed;
  agreed.code = "cancelled";
  from_worker(jobs[0].job, agreed);
  EXPECT_EQ(broker->core().running, 0u);
  EXPECT_EQ(client.terminals(10), 1u);
}

TEST_F(JobsTest, OfOthersAreEndedByAdministratorsOnly) {
  send(client, 10, request_for(model));
  const auto job = list(client).jobs[0].job;
  EXPECT_EQ(other.error_code(cancel(other, job)), "denied");
  EXPECT_EQ(client.terminals(10), 0u);
  root.answer<contract::Done>(cancel(root, job));
  const auto error = client.answer<contract::Error>(10);
  EXPECT_EQ(error.code, "cancelled");
  EXPECT_NE(error.what.find("an administrator (user 0, process 4711)"), std::string::npos);
  EXPECT_EQ(root.error_code(cancel(root, 123456)), "bad_request");
}

TEST_F(JobsTest, WhoseCallerMayComeBackAreListedAndEndedAsWell) {
  contract::Generate message = request_for(model);
  message.key = "a key";
  send(client, 10, message);
  broker->disconnect(client.id);
  const auto jobs = list(root).jobs;
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].connection, 0u);
  EXPECT_EQ(jobs[0].uid, 1000u);
  EXPECT_TRUE(list(other).jobs.empty());
  EXPECT_EQ(other.error_code(cancel(other, jobs[0].job)), "denied");
  root.answer<contract::Done>(cancel(root, jobs[0].job));
  EXPECT_EQ(worker.last<contract::Cancel>().request_id, jobs[0].job);
}

TEST_F(JobsTest, NoMoreAreListedThanAFrameHolds) {
  Config config;
  config.limits.open_requests = 2000;
  config.user.open_requests = 2000;
  make_broker(config);
  FakeClient flooder;
  last_id = 5000;
  start_worker(1);
  connect(flooder);
  const std::string flooded = hold_hot_model(flooder, 1);
  for (std::uint32_t id = 10; id < 1300; ++id) send(flooder, id, request_for(flooded));
  const auto jobs = list(flooder).jobs;
  EXPECT_EQ(jobs.size(), 1024u);
  EXPECT_EQ(jobs[0].state, "running");
  EXPECT_EQ(jobs[1023].place, 1022u);
}

TEST_F(JobsTest, AnAdministratorClosesAConnectionAndAllItHoldsIsTakenBack) {
  contract::Generate message = request_for(model);
  message.key = "it could be resumed";
  const ArenaId arena = grant_arena(client, 5);
  add_picture(message, arena);
  send(client, 10, message);
  send(client, 11, request_for(model));
  root.answer<contract::Done>(kick(root, client.id));
  for (const std::uint32_t id : {10u, 11u}) {
    const auto error = client.answer<contract::Error>(id);
    EXPECT_EQ(error.code, "cancelled");
    EXPECT_NE(error.what.find("an administrator"), std::string::npos);
  }
  EXPECT_EQ(client.connection_error(), "cancelled");
  EXPECT_TRUE(client.closed);
  EXPECT_FALSE(broker->core().clients.contains(client.id));
  EXPECT_EQ(worker.count<contract::Cancel>(), 1u);
  broker->disconnect(client.id);  // as its session does; nothing is left to do
  contract::Error agreed;
  agreed.code = "cancelled";
  from_worker(worker.last<contract::Generate>().request_id, agreed);
  broker->disconnect(other.id);
  broker->disconnect(root.id);
  expect_empty_ledger();
}

TEST_F(JobsTest, OnesOwnConnectionCanBeClosedToo) {
  const auto id = kick(root, root.id);
  root.answer<contract::Done>(id);
  EXPECT_TRUE(root.closed);
  EXPECT_EQ(root.connection_error(), "cancelled");
  EXPECT_FALSE(broker->core().clients.contains(root.id));
}

TEST_F(JobsTest, AConnectionThatIsNotThereIsNamed) {
  EXPECT_EQ(root.error_code(kick(root, 12345)), "bad_request");
}

TEST_F(JobsTest, CountersSayWhatEachConnectionHad) {
  timer.pass(Milliseconds(1500));
  send(client, 10, request_for(model));
  auto reply = generated("three tokens");
  reply.receipt.generated_tokens = 3;
  const auto job = worker.last<contract::Generate>().request_id;
  say(job, 2);  // the third comes with the reply only
  from_worker(job, reply);
  send(client, 11, request_for("nothing"));
  const auto report = status(client, 12);
  const auto& entry = report.clients[0];
  EXPECT_EQ(entry.connection, client.id);
  EXPECT_EQ(entry.connected_ms, 1500u);
  EXPECT_EQ(entry.served, 1u);
  EXPECT_EQ(entry.failed, 1u);
  EXPECT_EQ(entry.generated_tokens, 3u);
  EXPECT_EQ(report.generated_tokens, 3u);
  EXPECT_DOUBLE_EQ(report.tokens_per_second, 0.3);
  EXPECT_EQ(status(other, 12).clients[0].served, 0u);
  timer.pass(Milliseconds(10'100));
  EXPECT_DOUBLE_EQ(status(client, 13).tokens_per_second, 0.0);
}

TEST(TokenRate, IsThatOfTheLastTenSeconds) {
  TokenRate rate;
  TimePoint now = TimePoint(std::chrono::hours(1));
  EXPECT_EQ(rate.per_second(now), 0.0);
  for (int i = 0; i < 1000; ++i, now += Milliseconds(50)) rate.add(2, now);
  EXPECT_NEAR(rate.per_second(now), 40.0, 0.5);
  EXPECT_NEAR(rate.per_second(now + Milliseconds(5000)), 20.0, 0.5);
  EXPECT_EQ(rate.per_second(now + Milliseconds(10'000)), 0.0);
  EXPECT_EQ(rate.total(), 2000u);
}

}  // namespace
}  // namespace hearth::broker
