// Who is served next, and what those who wait are told.
#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

constexpr FairQueue::Rules kRules{.quantum_tokens = 100, .aging = Milliseconds(2000)};
constexpr auto kAnyJob = [](JobId) { return true; };

class QueueTest : public testing::Test {
 protected:
  JobId push(ConnectionId client, std::int64_t cost = 1,
             Priority priority = Priority::kInteractive) {
    const JobId job = ++last_job;
    costs[job] = cost;
    clients[job] = client;
    queue.push({job, client, priority, cost}, now);
    return job;
  }
  JobId take() { return queue.take(now, kAnyJob); }
  std::vector<JobId> take_all() {
    std::vector<JobId> order;
    while (const JobId job = take()) order.push_back(job);
    return order;
  }

  FairQueue queue{kRules};
  TimePoint now = TimePoint(std::chrono::hours(1));
  JobId last_job = 0;
  std::map<JobId, std::int64_t> costs;
  std::map<JobId, ConnectionId> clients;
};

TEST_F(QueueTest, EqualJobsOfEqualClientsRunInTurnAndEachClientsInOrder) {
  for (int i = 0; i < 3; ++i) push(10, 100);
  push(20, 100);
  push(30, 100);
  EXPECT_EQ(take_all(), (std::vector<JobId>{1, 4, 5, 2, 3}));
  EXPECT_EQ(queue.size(), 0u);
}

TEST_F(QueueTest, AJobThatIsPutBackRunsBeforeTheOthersOfItsClientAtNoCost) {
  for (int i = 0; i < 4; ++i) push(10, 100);
  push(20, 100);
  const JobId first = take();
  const JobId second = take();
  ASSERT_EQ(std::pair(first, second), std::pair(JobId{1}, JobId{5}));
  queue.put_back({second, 20, Priority::kInteractive, 100}, now);
  queue.put_back({first, 10, Priority::kInteractive, 100}, now);
  EXPECT_EQ(queue.order().size(), 5u);
  const auto again = take_all();
  EXPECT_LT(std::find(again.begin(), again.end(), 1u), std::find(again.begin(), again.end(), 2u));
  EXPECT_EQ((std::set<JobId>{again[0], again[1]}), (std::set<JobId>{1, 5}));
}

TEST_F(QueueTest, AClientWithManyCheapJobsAndOneWithFewDearOnesShareByWork) {
  for (int i = 0; i < 1000; ++i) push(10, 10);
  for (int i = 0; i < 100; ++i) push(20, 250);
  std::map<ConnectionId, std::int64_t> given;
  for (int i = 0; i < 500; ++i) {
    const JobId job = take();
    given[clients[job]] += costs[job];
    EXPECT_LE(std::abs(given[10] - given[20]), 100 + 250) << "after " << i;
  }
  EXPECT_GT(given[10], 4000);
}

TEST_F(QueueTest, RandomClientsThatAlwaysWaitShareWithinAQuantumAndTheirDearestJob) {
  const unsigned seed = 20'26;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::uniform_int_distribution<std::int64_t> cost(1, 700);
  constexpr int kClients = 7;
  for (int client = 1; client <= kClients; ++client)
    for (int i = 0; i < 300; ++i) push(client, cost(random));
  std::vector<std::int64_t> given(kClients);
  for (int i = 0; i < 1000; ++i) {
    const JobId job = take();
    given[clients[job] - 1] += costs[job];
    const auto [least, most] = std::minmax_element(given.begin(), given.end());
    ASSERT_LE(*most - *least, 100 + 700) << "after " << i;
  }
}

TEST_F(QueueTest, OneWhoFloodsDoesNotHoldUpSevenOthers) {
  for (int i = 0; i < 64; ++i) push(1, 100);
  take();
  std::vector<JobId> normal;
  for (ConnectionId client = 2; client <= 8; ++client) normal.push_back(push(client, 100));
  // An equal share of eight clients: every normal one is served within eight jobs.
  std::vector<JobId> next;
  for (int i = 0; i < 8; ++i) next.push_back(take());
  for (const JobId job : normal) EXPECT_EQ(std::count(next.begin(), next.end(), job), 1) << job;
}

TEST_F(QueueTest, ADearJobIsPaidForAfterwardsEvenIfItsClientPausesInBetween) {
  push(10, 1000);
  push(20, 100);
  EXPECT_EQ(take(), 1u);  // runs on credit; the client has nothing left to wait for
  push(10, 100);
  for (int i = 0; i < 9; ++i) push(20, 100);
  std::vector<JobId> order;
  for (int i = 0; i < 9; ++i) order.push_back(take());
  EXPECT_EQ(std::count(order.begin(), order.end(), 3u), 0);
}

TEST_F(QueueTest, ANewClientNeitherInheritsDebtNorSavesUp) {
  for (int i = 0; i < 50; ++i) push(10, 100);
  for (int i = 0; i < 40; ++i) take();
  for (int i = 0; i < 50; ++i) push(20, 100);
  std::map<ConnectionId, int> n;
  for (int i = 0; i < 10; ++i) ++n[clients[take()]];
  EXPECT_LE(n[20], 6);
  EXPECT_LE(n[10], 6);
}

TEST_F(QueueTest, EarlierClassesGoFirst) {
  const JobId maintenance = push(10, 1, Priority::kMaintenance);
  const JobId batch = push(10, 1, Priority::kBatch);
  const JobId interactive = push(10, 1, Priority::kInteractive);
  EXPECT_EQ(take_all(), (std::vector<JobId>{interactive, batch, maintenance}));
}

TEST_F(QueueTest, ALaterClassRunsWhenNothingOfAnEarlierOneCan) {
  const JobId batch = push(10, 1, Priority::kBatch);
  push(20, 1, Priority::kInteractive);
  EXPECT_EQ(queue.take(now, [&](JobId job) { return job == batch; }), batch);
}

TEST_F(QueueTest, WhoeverWaitedTwoSecondsMovesUpOneClass) {
  const JobId batch = push(10, 1, Priority::kBatch);
  const JobId maintenance = push(10, 1, Priority::kMaintenance);
  now += Milliseconds(1999);
  const JobId early = push(20);
  EXPECT_EQ(take(), early);
  now += Milliseconds(1);
  const JobId late = push(20, 1000);
  EXPECT_EQ(queue.order().front(), late);  // nobody has looked at the clock yet
  EXPECT_EQ(queue.take(now, [](JobId) { return false; }), 0u);
  EXPECT_EQ(queue.order(), (std::vector<JobId>{late, batch, maintenance}));
  now += Milliseconds(1999);
  push(30, 1, Priority::kBatch);
  EXPECT_EQ(queue.take(now, [&](JobId job) { return job == maintenance; }), maintenance)
      << "a batch job by now, which came before the other";
}

TEST_F(QueueTest, NobodyStarvesUnderAnEndlessFlood) {
  const JobId poor = push(10, 1, Priority::kMaintenance);
  const TimePoint began = now;
  bool served = false;
  while (!served && now - began < std::chrono::seconds(60)) {
    for (int i = 0; i < 4; ++i) push(20, 100);
    now += Milliseconds(100);
    served = take() == poor;
  }
  EXPECT_LE(now - began, Milliseconds(2 * 2000 + 300));
}

TEST_F(QueueTest, WhoCannotRunYetIsPassedOverAndKeepsTurnAndOrder) {
  const JobId blocked = push(10, 100);
  const JobId ready = push(10, 100);
  const JobId other = push(20, 100);
  const auto all_but_first = [&](JobId job) { return job != blocked; };
  EXPECT_EQ(queue.take(now, all_but_first), ready);
  EXPECT_EQ(queue.take(now, all_but_first), other);
  EXPECT_EQ(queue.take(now, all_but_first), 0u);
  EXPECT_EQ(queue.size(), 1u);

  // Ten rounds without it: it comes first when it can run, but has not saved up more than that.
  for (int i = 0; i < 10; ++i) push(10, 100);
  for (int i = 0; i < 30; ++i) push(20, 100);
  const auto only_20 = [&](JobId job) { return clients[job] == 20; };
  for (int i = 0; i < 10; ++i) EXPECT_NE(queue.take(now, only_20), 0u);
  EXPECT_EQ(take(), blocked);
  std::map<ConnectionId, int> n;
  for (int i = 0; i < 4; ++i) ++n[clients[take()]];
  EXPECT_EQ(n[20], 2);
}

TEST_F(QueueTest, JobsLeaveFromAnyPlace) {
  for (int i = 0; i < 5; ++i) push(10, 1, static_cast<Priority>(i % 3));
  push(20);
  EXPECT_TRUE(queue.remove(4));
  EXPECT_FALSE(queue.remove(4));
  EXPECT_TRUE(queue.remove(1));
  EXPECT_TRUE(queue.remove(6));
  EXPECT_EQ(take_all(), (std::vector<JobId>{2, 5, 3}));
  now += std::chrono::seconds(10);
  EXPECT_EQ(take(), 0u);
}

TEST_F(QueueTest, AClientThatIsGoneTakesItsJobsAlong) {
  push(10);
  push(10, 1, Priority::kBatch);
  const JobId stays = push(20);
  queue.forget(10);
  queue.forget(77);
  EXPECT_EQ(queue.lanes(), 1u);
  EXPECT_EQ(take_all(), std::vector<JobId>{stays});
}

TEST_F(QueueTest, AJobThatIsHandedOverKeepsItsAge) {
  push(10, 100);
  push(20, 100);
  push(20, 100);
  queue.hand_over(1, 20);
  queue.hand_over(99, 20);
  EXPECT_EQ(take_all(), (std::vector<JobId>{1, 2, 3}));
  push(20);
  queue.forget(10);
  EXPECT_EQ(queue.size(), 1u);
}

TEST_F(QueueTest, TheOrderIsHowEqualJobsRun) {
  for (int i = 0; i < 3; ++i) push(10, 100, Priority::kBatch);
  for (int i = 0; i < 2; ++i) push(20, 100, Priority::kBatch);
  push(30, 100);
  const std::vector<JobId> order = queue.order();
  EXPECT_EQ(order, (std::vector<JobId>{6, 1, 4, 2, 5, 3}));
  EXPECT_EQ(take_all(), order);
}

// The same at the whole broker.
class FairnessTest : public BrokerTest {
 protected:
  void SetUp() override {
    connect(client);
    start_worker(1);
    model = hold_hot_model(client, 1000);
    request = request_for(model);
  }
  void join(FakeClient& other) {
    connect(other);
    hold_same_model(other, 1000);
  }
  JobId last_job() const { return worker.last<contract::Generate>().request_id; }
  std::size_t dispatched() const { return worker.count<contract::Generate>(); }
  // What a request was told about its place, as "ahead of total".
  static std::vector<std::string> places(const FakeClient& of, std::uint32_t request_id) {
    std::vector<std::string> told;
    for (const OutFrame& frame : of.of(request_id)) {
      const auto progress = contract::unpack<contract::Progress>(bytes_of(frame.body));
      if (frame.type == contract::Progress::kType && progress && progress->stage == "queued")
        told.push_back(std::to_string(progress->done) + " of " + std::to_string(progress->total));
    }
    return told;
  }

  FakeClient client;
  std::string model;
  contract::Generate request;
};

TEST_F(FairnessTest, SevenNormalClientsBesideAFloodAreServedByTheirEqualShare) {
  std::deque<FakeClient> normal(7);
  for (FakeClient& each : normal) join(each);
  for (std::uint32_t id = 1; id <= 64; ++id) send(client, id, request);
  for (FakeClient& each : normal) send(each, 1, request);
  for (int i = 0; i < 1 + 8; ++i) from_worker(last_job(), generated("x"));
  for (const FakeClient& each : normal) each.answer<contract::Generated>(1);
}

TEST_F(FairnessTest, PriorityAndLengthReachTheQueue) {
  FakeClient other;
  join(other);
  send(client, 1, request);  // runs
  request.priority = "batch";
  send(client, 2, request);
  request.priority = "interactive";
  request.max_tokens = 5000;
  send(other, 3, request);
  request.max_tokens = 16;
  send(other, 4, request);
  for (std::uint32_t id = 5; id <= 9; ++id) send(client, id, request);
  std::vector<std::pair<ConnectionId, std::uint32_t>> order;
  for (int i = 0; i < 8; ++i) {
    from_worker(last_job(), generated("x"));
    const Caller caller = broker->core().jobs.at(last_job()).caller;
    order.emplace_back(caller.connection, caller.request_id);
  }
  using Order = std::vector<std::pair<ConnectionId, std::uint32_t>>;
  // The dear one is served in its turn and paid for by waiting; the batch job is last.
  EXPECT_EQ(order, (Order{{other.id, 3},
                          {client.id, 5},
                          {client.id, 6},
                          {client.id, 7},
                          {client.id, 8},
                          {client.id, 9},
                          {other.id, 4},
                          {client.id, 2}}));
}

TEST_F(FairnessTest, WhoeverWaitsIsToldHowManyAreAheadWhenThatChanges) {
  for (std::uint32_t id = 1; id <= 3; ++id) send(client, id, request);
  EXPECT_TRUE(timer.will_wake_by(timer.now() + Milliseconds(250)) || places(client, 2).empty());
  broker->tick();
  EXPECT_EQ(places(client, 2), std::vector<std::string>{"0 of 2"});
  EXPECT_EQ(places(client, 3), std::vector<std::string>{"1 of 2"});
  from_worker(last_job(), generated("x"));
  broker->tick();
  EXPECT_EQ(places(client, 3).size(), 1u) << "told again within 250 ms";
  EXPECT_TRUE(timer.will_wake_by(timer.now() + Milliseconds(250)));
  tick_after(Milliseconds(250));
  EXPECT_EQ(places(client, 3), (std::vector<std::string>{"1 of 2", "0 of 1"}));
  tick_after(Milliseconds(250));
  EXPECT_EQ(places(client, 3).size(), 2u) << "nothing has changed";
  EXPECT_EQ(places(client, 2).size(), 1u) << "it runs";
  EXPECT_TRUE(places(client, 1).empty()) << "it never waited";
}

TEST_F(FairnessTest, AClientThatIsGoneIsNotRemembered) {
  FakeClient other;
  join(other);
  send(client, 1, request);
  send(other, 1, request);
  EXPECT_EQ(broker->core().queue.lanes(), 2u);
  broker->disconnect(other.id);
  EXPECT_EQ(broker->core().queue.lanes(), 1u);
}

TEST_F(FairnessTest, WhoeverLeavesTheQueueMovesTheOthersUp) {
  FakeClient other;
  join(other);
  send(client, 1, request);
  send(client, 2, request);
  send(other, 1, request);
  send(other, 2, request);
  broker->tick();
  EXPECT_EQ(places(other, 2), std::vector<std::string>{"2 of 3"});
  broker->disconnect(client.id);
  tick_after(Milliseconds(250));
  EXPECT_EQ(places(other, 1), (std::vector<std::string>{"1 of 3", "0 of 2"}));
  EXPECT_EQ(places(other, 2), (std::vector<std::string>{"2 of 3", "1 of 2"}));
}

TEST_F(FairnessTest, WhoeverWaitsForALoadHearsOfThatAndNotOfPlaces) {
  const std::string cold = hold_model(client, 5, "b");
  send(client, 1, request_for(cold));
  broker->tick();
  EXPECT_TRUE(places(client, 1).empty());
}

}  // namespace
}  // namespace hearth::broker
