// Clients that no longer answer: pinged, given up, closed; and those that only seem so.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class HeartbeatTest : public BrokerTest {
 protected:
  void SetUp() override {
    connect(client);
    start_worker(1);
    model = hold_hot_model(client, 1000);
  }
  static std::size_t pings(const FakeClient& of) {
    std::size_t n = 0;
    for (const OutFrame& frame : of.received) n += frame.type == contract::Ping::kType ? 1 : 0;
    return n;
  }
  void answer_ping() {
    for (const OutFrame& frame : client.received)
      if (frame.type == contract::Ping::kType)
        return send(client, frame.request_id, contract::Pong{});
    ADD_FAILURE() << "there was no ping";
  }
  // In steps, as a timer would: a long pause would be our own.
  void pass_seconds(int seconds) {
    for (int i = 0; i < seconds; ++i) tick_after(Milliseconds(1000));
  }
  bool is_shown_stalled() {
    FakeClient observer;
    connect(observer);
    const auto report = status(observer, 1);
    broker->disconnect(observer.id);
    for (const contract::ClientEntry& entry : report.clients)
      if (entry.connection == client.id) return entry.stalled;
    ADD_FAILURE() << "the client is not listed";
    return false;
  }

  FakeClient client;
  std::string model;
};

TEST_F(HeartbeatTest, TheWelcomeSaysHowOften) {
  const auto welcome = contract::unpack<contract::Welcome>(bytes_of(client.received[0].body));
  ASSERT_TRUE(welcome);
  EXPECT_EQ(welcome->heartbeat_ms, 10'000u);
}

TEST_F(HeartbeatTest, OneWithoutOpenRequestIsNeverPinged) {
  pass_seconds(200);
  EXPECT_EQ(pings(client), 0u);
  EXPECT_FALSE(client.closed);
}

TEST_F(HeartbeatTest, ASilentOneWithAnOpenRequestIsPingedOnceAndThatWakesUsInTime) {
  send(client, 1, request_for(model));
  EXPECT_TRUE(timer.will_wake_by(timer.now() + Milliseconds(10'000)));
  pass_seconds(9);
  EXPECT_EQ(pings(client), 0u);
  pass_seconds(1);
  EXPECT_EQ(pings(client), 1u);
  EXPECT_TRUE(timer.will_wake_by(timer.now() + Milliseconds(20'000)));
  pass_seconds(19);
  EXPECT_EQ(pings(client), 1u);
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);
}

TEST_F(HeartbeatTest, AnAnswerOrAnyFrameKeepsItAlive) {
  send(client, 1, request_for(model));
  for (int i = 0; i < 10; ++i) {
    pass_seconds(10);
    EXPECT_EQ(pings(client), static_cast<std::size_t>(i + 1));
    if (i % 2 == 0) {
      answer_ping();
    } else {
      send(client, 99, contract::Cancel{});
    }
  }
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);
  EXPECT_FALSE(is_shown_stalled());
}

TEST_F(HeartbeatTest, AfterThreeTimesTheSilenceItsWorkIsDropped) {
  FakeClient other;
  connect(other);
  hold_same_model(other, 1000);
  send(client, 1, request_for(model));  // runs
  const JobId running = worker.last<contract::Generate>().request_id;
  send(client, 2, request_for(model));
  pass_seconds(15);
  send(other, 1, request_for(model));
  pass_seconds(14);
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);
  pass_seconds(1);
  EXPECT_EQ(worker.last<contract::Cancel>().request_id, running);
  for (const std::uint32_t id : {1u, 2u}) {
    EXPECT_EQ(client.error_code(id), "cancelled");
    EXPECT_NE(client.answer<contract::Error>(id).what.find("30000 ms"), std::string::npos);
  }
  EXPECT_TRUE(is_shown_stalled());
  contract::Error cancelled;
  cancelled.code = "cancelled";
  from_worker(running, cancelled);
  EXPECT_EQ(client.terminals(1), 1u);
  const Caller caller = broker->core().jobs.at(worker.last<contract::Generate>().request_id).caller;
  EXPECT_EQ(caller.connection, other.id);
  EXPECT_FALSE(client.closed);
}

TEST_F(HeartbeatTest, AStalledOneIsClosedThirtySecondsLater) {
  send(client, 1, request_for(model));
  pass_seconds(30);
  contract::Error cancelled;
  cancelled.code = "cancelled";
  from_worker(worker.last<contract::Generate>().request_id, cancelled);
  pass_seconds(29);
  EXPECT_FALSE(client.closed);
  pass_seconds(1);
  EXPECT_TRUE(client.closed);
  EXPECT_EQ(client.connection_error(), "not_reachable");
  EXPECT_TRUE(broker->core().clients.empty());
}

TEST_F(HeartbeatTest, AStalledOneThatAnswersIsAsGoodAsAny) {
  send(client, 1, request_for(model));
  pass_seconds(45);
  EXPECT_TRUE(is_shown_stalled());
  answer_ping();
  EXPECT_FALSE(is_shown_stalled());
  contract::Error cancelled;
  cancelled.code = "cancelled";
  from_worker(worker.last<contract::Generate>().request_id, cancelled);
  pass_seconds(100);
  EXPECT_FALSE(client.closed);
  send(client, 2, request_for(model));
  from_worker(worker.last<contract::Generate>().request_id, generated("again"));
  EXPECT_EQ(client.answer<contract::Generated>(2).text, "again");
}

TEST_F(HeartbeatTest, APongThatNobodyAskedForIsIgnored) {
  for (const std::uint32_t id : {0u, 7u, 0xFFFFFFFFu}) send(client, id, contract::Pong{});
  send(client, 8, contract::Ping{});
  client.answer<contract::Pong>(8);
  EXPECT_FALSE(client.closed);
}

TEST_F(HeartbeatTest, OurOwnPauseIsNotHeldAgainstClients) {
  send(client, 1, request_for(model));
  pass_seconds(10);
  EXPECT_EQ(pings(client), 1u);
  tick_after(std::chrono::hours(8));  // the process was stopped, or the machine slept
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);
  pass_seconds(10);
  EXPECT_EQ(pings(client), 2u);
  pass_seconds(20);
  EXPECT_EQ(worker.count<contract::Cancel>(), 1u);
}

TEST_F(HeartbeatTest, ZeroMeansNever) {
  Config config;
  config.heartbeat = Milliseconds(0);
  make_broker(config);
  FakeClient quiet;
  connect(quiet);
  contract::ArenaAsk ask;
  ask.nbytes = 65536;
  send(quiet, 1, ask);
  pass_seconds(200);
  EXPECT_EQ(pings(quiet), 0u);
  EXPECT_FALSE(quiet.closed);
}

// As after an upgrade with another configuration.
TEST_F(HeartbeatTest, WhoWasWaitedForWhenTheyEndIsLeftInPeace) {
  send(client, 1, request_for(model));
  pass_seconds(5);
  Config without = broker->core().config;
  without.heartbeat = Milliseconds(0);
  const_cast<Core&>(broker->core()).reconfigure(std::move(without));
  pass_seconds(200);
  EXPECT_EQ(pings(client), 0u);
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);
  EXPECT_FALSE(client.closed);
  EXPECT_EQ(broker->core().next_heartbeat, TimePoint::max()) << "nobody is woken for it";
}

}  // namespace
}  // namespace hearth::broker
