// What the connections of one user may hold together: each limit reached, named, and recovered
// from.
#include "tests/unit/broker_results_for_test.h"

namespace hearth::broker {
namespace {

constexpr uid_t kUser = 1000;
constexpr uid_t kOtherUser = 1001;

class QuotaTest : public ResultsForTest {
 protected:
  // A broker in which a user has only `quota`, and a model that everybody may use.
  void allow(const contract::Quota& quota, Config config = {}) {
    config.user = quota;
    make_broker(std::move(config));
    folder.write("model.safetensors", "weights");
    ASSERT_TRUE(broker->publish({kModel, folder.path()}));
    start_worker(2);
    recognise();
  }
  static contract::Quota plenty() { return Config{}.user; }

  void TearDown() override {
    for (FakeClient* each : {&a, &b, &stranger})
      if (each->id != 0) broker->disconnect(each->id);
    off_loop.run_all();
    end_cancelled_jobs();
    expect_empty_ledger();
  }
  void connect_all() {
    connect(a, true, kUser);
    connect(b, true, kUser);
    connect(stranger, true, kOtherUser);
  }
  void load_for(FakeClient& client, std::uint32_t request_id) {
    contract::LoadModel load;
    load.model = kModel;
    send(client, request_id, load);
    finish_load();
  }
  void ask(FakeClient& client, std::uint32_t request_id, std::uint64_t nbytes = 65536) {
    contract::ArenaAsk message;
    message.nbytes = nbytes;
    send(client, request_id, message);
  }
  void drop(FakeClient& client, std::uint32_t request_id, ArenaId arena) {
    contract::ArenaDrop message;
    message.arena = arena;
    send(client, request_id, message);
    client.answer<contract::ArenaDropped>(request_id);
  }
  std::uint64_t assigned_bytes() const {
    return contract::unpack<contract::AssignJob>(bytes_of(worker.last<contract::AssignJob>().body))
        ->out_bytes;
  }
  // The request was refused, for a while, in words that name what there is too much of.
  static void expect_busy(const FakeClient& client, std::uint32_t request_id,
                          const std::string& what) {
    const auto error = client.answer<contract::Error>(request_id);
    EXPECT_EQ(error.code, "busy");
    EXPECT_TRUE(error.retryable);
    EXPECT_GT(error.retry_after_ms, 0u);
    EXPECT_NE(error.what.find(what), std::string::npos) << error.what;
    EXPECT_NE(error.what.find("this user"), std::string::npos) << error.what;
    EXPECT_FALSE(error.hint.empty());
    EXPECT_FALSE(client.closed);
  }
  contract::Quota held(uid_t user = kUser) const { return broker->core().accounts.held_by(user); }

  static constexpr const char* kModel = "published";
  FakeClient a;
  FakeClient b;
  FakeClient stranger;
};

TEST_F(QuotaTest, WelcomeNamesTheQuota) {
  contract::Quota quota{
      .connections = 3, .open_requests = 4, .arenas = 5, .arena_bytes = 6, .tensors = 7};
  allow(quota);
  connect(a);
  const auto welcome = contract::unpack<contract::Welcome>(bytes_of(a.received.at(0).body));
  ASSERT_TRUE(welcome);
  EXPECT_EQ(welcome->quota, quota);
}

TEST_F(QuotaTest, OneConnectionTooManyEndsAndOtherUsersAreNotConcerned) {
  contract::Quota quota = plenty();
  quota.connections = 2;
  allow(quota);
  connect_all();
  FakeClient third;
  connect(third, false, kUser);
  EXPECT_EQ(third.connection_error(), "busy");
  EXPECT_TRUE(third.closed);
  EXPECT_FALSE(stranger.closed);
  EXPECT_EQ(held().connections, 2u);
  broker->disconnect(third.id);  // as the session does when its stream ends
  EXPECT_EQ(held().connections, 2u);
  broker->disconnect(a.id);
  FakeClient fourth;
  connect(fourth, true, kUser);
  EXPECT_FALSE(fourth.closed);
  broker->disconnect(fourth.id);
}

TEST_F(QuotaTest, ConnectionsThatNeverSayHelloCount) {
  contract::Quota quota = plenty();
  quota.connections = 1;
  allow(quota);
  connect(a, false, kUser);
  connect(b, false, kUser);
  EXPECT_EQ(b.connection_error(), "busy");
  tick_after(Milliseconds(2000));
  EXPECT_TRUE(a.closed);
  EXPECT_EQ(held(), contract::Quota{});
}

TEST_F(QuotaTest, OpenRequestsOfAllKindsCountForTheUser) {
  contract::Quota quota = plenty();
  quota.open_requests = 3;
  allow(quota);
  connect_all();
  contract::LoadModel load;
  load.model = kModel;
  send(a, 1, load);
  send(a, 2, request_for(kModel));
  ask(b, 1);
  EXPECT_EQ(held().open_requests, 3u);
  send(b, 2, request_for(kModel));
  expect_busy(b, 2, "open requests");
  send(b, 3, contract::Ping{});  // these are never too many
  b.answer<contract::Pong>(3);
  status(b, 4);
  ask(stranger, 1);
  off_loop.run_all();
  stranger.answer<contract::ArenaGrant>(1);
  b.answer<contract::ArenaGrant>(1);
  EXPECT_EQ(held().open_requests, 2u);
  send(b, 5, encode_for(kModel));
  EXPECT_EQ(b.terminals(5), 0u);
  ask(b, 6);
  expect_busy(b, 6, "open requests");
  broker->disconnect(a.id);
  EXPECT_EQ(held().open_requests, 1u);
}

TEST_F(QuotaTest, RefusedAndCancelledRequestsDoNotStayOpen) {
  contract::Quota quota = plenty();
  quota.open_requests = 1;
  allow(quota);
  connect(a);
  send(a, 1, request_for("no-such-model"));
  EXPECT_EQ(a.error_code(1), "unknown_model");
  send(a, 2, request_for(kModel));  // waits for the load
  send(a, 2, contract::Cancel{});
  EXPECT_EQ(a.error_code(2), "cancelled");
  ask(a, 3);
  send(a, 3, contract::Cancel{});
  EXPECT_EQ(a.error_code(3), "cancelled");
  EXPECT_EQ(held().open_requests, 0u);
}

TEST_F(QuotaTest, ArenasOfAllConnectionsCountPendingOnesToo) {
  contract::Quota quota = plenty();
  quota.arenas = 2;
  allow(quota);
  connect_all();
  ask(a, 1);
  ask(b, 1);
  ask(b, 2);
  expect_busy(b, 2, "arenas");
  off_loop.run_all();
  ask(stranger, 1);
  off_loop.run_all();
  stranger.answer<contract::ArenaGrant>(1);
  drop(a, 2, a.answer<contract::ArenaGrant>(1).arena);
  grant_arena(b, 3);
}

TEST_F(QuotaTest, BytesOfArenasCountByUser) {
  contract::Quota quota = plenty();
  quota.arena_bytes = 3 * 65536;
  allow(quota);
  connect_all();
  grant_arena(a, 1, 2 * 65536);
  ask(b, 1, 2 * 65536);
  expect_busy(b, 1, "bytes of arenas");
  grant_arena(stranger, 1, 2 * 65536);
  broker->disconnect(a.id);
  grant_arena(b, 2, 3 * 65536);
}

TEST_F(QuotaTest, ArenaOfADeadClientCountsForItsUserUntilTheJobHasReadIt) {
  contract::Quota quota = plenty();
  quota.arena_bytes = 65536;
  allow(quota);
  connect(a);
  connect(b);
  load_for(a, 1);
  auto message = request_for(kModel);
  add_picture(message, grant_arena(a, 2));
  send(a, 3, message);
  broker->disconnect(a.id);
  ask(b, 1);
  expect_busy(b, 1, "bytes of arenas");
  end_cancelled_jobs();
  grant_arena(b, 2);
}

TEST_F(QuotaTest, LentArenasCountLikeOthersAndTheWorkerIsToldWhatIsLeft) {
  contract::Quota quota = plenty();
  quota.arena_bytes = 3 * kLentBytes;
  allow(quota);
  connect_all();
  load_for(a, 1);
  grant_arena(b, 1, kLentBytes);
  send(a, 2, encode_for(kModel));
  EXPECT_EQ(assigned_bytes(), 2 * kLentBytes);
  EXPECT_TRUE(lend(a.id, 7));
  answer_encode(7, {4096});
  const ArenaId arena = arena_of(a);
  send(b, 2, encode_for(kModel));
  EXPECT_EQ(assigned_bytes(), kLentBytes);
  ask(stranger, 1, 2 * kLentBytes);
  ask(b, 3, 2 * kLentBytes);
  expect_busy(b, 3, "bytes of arenas");
  release(a, 3, {{arena, 4096}});
  EXPECT_TRUE(take_back(7));
  EXPECT_EQ(held().arena_bytes, kLentBytes);
  ask(b, 4, 2 * kLentBytes);
  EXPECT_EQ(b.terminals(4), 0u);
}

TEST_F(QuotaTest, NothingIsLeftForResultsWhenTheUserMayHaveNoFurtherArena) {
  contract::Quota quota = plenty();
  quota.arenas = 2;
  allow(quota);
  connect_all();
  load_for(a, 1);
  grant_arena(b, 1, 8192);
  send(a, 2, encode_for(kModel));
  EXPECT_GT(assigned_bytes(), 0u);
  grant_arena(b, 2, 8192);
  contract::Error refused;
  refused.code = "out_of_arena";
  from_worker(last_encode(), refused);
  send(a, 3, encode_for(kModel));
  EXPECT_EQ(assigned_bytes(), 0u);
}

TEST_F(QuotaTest, WhatIsLeftIsTheLeastOfConnectionUserAndAll) {
  Config config;
  config.limits.arena_bytes = 3 * kLentBytes;
  config.limits.arenas = 2;
  config.all_arena_bytes = 7 * kLentBytes;
  contract::Quota quota = plenty();
  quota.arena_bytes = 5 * kLentBytes;
  allow(quota, config);
  connect_all();
  load_for(a, 1);
  const auto left_for = [&](FakeClient& client, std::uint32_t request_id) {
    send(client, request_id, encode_for(kModel));
    const std::uint64_t nbytes = assigned_bytes();
    contract::Error error;
    error.code = "out_of_arena";
    from_worker(last_encode(), error);
    EXPECT_EQ(client.error_code(request_id), "out_of_arena");
    return nbytes;
  };
  EXPECT_EQ(left_for(a, 10), 3 * kLentBytes);  // of the connection
  grant_arena(b, 1, 3 * kLentBytes);
  EXPECT_EQ(left_for(a, 11), 2 * kLentBytes);  // of the user
  grant_arena(stranger, 1, 3 * kLentBytes);
  EXPECT_EQ(left_for(a, 12), 1 * kLentBytes);  // of all
  grant_arena(a, 2, 8192);
  grant_arena(a, 3, 8192);
  EXPECT_EQ(left_for(a, 13), 0u);  // no further arena
}

TEST_F(QuotaTest, UserWithAllItsArenasGetsNoFurtherOneForResults) {
  contract::Quota quota = plenty();
  quota.arenas = 1;
  allow(quota);
  connect_all();
  load_for(a, 1);
  const ArenaId arena = grant_arena(b, 1);
  send(a, 2, encode_for(kModel));
  EXPECT_EQ(assigned_bytes(), 0u);
  drop(b, 2, arena);
  send(a, 3, encode_for(kModel));
  EXPECT_EQ(assigned_bytes(), quota.arena_bytes);
}

TEST_F(QuotaTest, WorkerThatMakesTooMuchIsAccountedAllTheSame) {
  contract::Quota quota = plenty();
  quota.arena_bytes = 2 * kLentBytes;
  allow(quota);
  connect_all();
  load_for(a, 1);
  send(a, 2, encode_for(kModel));
  EXPECT_TRUE(lend(a.id, 7, 3 * kLentBytes));
  answer_encode(7, {4096});
  a.answer<contract::Encoded>(2);
  EXPECT_EQ(held().arena_bytes, 3 * kLentBytes);
  ask(b, 1, 8192);  // over the limit is not far below it
  expect_busy(b, 1, "bytes of arenas");
  send(b, 2, encode_for(kModel));
  EXPECT_EQ(assigned_bytes(), 0u);
}

TEST_F(QuotaTest, TensorsOfOpenRequestsAndHeldResultsCount) {
  contract::Quota quota = plenty();
  quota.tensors = 4;
  allow(quota);
  connect_all();
  load_for(a, 1);
  const ArenaId in = grant_arena(a, 2);
  auto message = request_for(kModel);
  for (int i = 0; i < 2; ++i) add_picture(message, in);
  send(a, 3, message);
  EXPECT_EQ(held().tensors, 2u);
  send(b, 1, encode_for(kModel, 3));  // its results would be too many, so it is not begun
  expect_busy(b, 1, "tensors");
  EXPECT_EQ(worker.count<contract::Encode>(), 0u);
  send(b, 2, encode_for(kModel, 2));
  EXPECT_EQ(held().tensors, 4u);
  EXPECT_TRUE(lend(b.id, 7));
  answer_encode(7, {4096, 8192});
  EXPECT_EQ(held().tensors, 4u);  // now of results
  from_worker(worker.last<contract::Generate>().request_id, generated("x"));
  EXPECT_EQ(held().tensors, 2u);
  send(a, 4, message);
  send(a, 5, encode_for(kModel));
  expect_busy(a, 5, "tensors");
  release(b, 3, {{arena_of(b), 4096}});
  b.answer<contract::Released>(3);
  EXPECT_EQ(held().tensors, 3u);
  send(a, 6, encode_for(kModel));
  EXPECT_EQ(a.terminals(6), 0u);
}

TEST_F(QuotaTest, ResultsOfALostWorkerCountUntilReleased) {
  contract::Quota quota = plenty();
  quota.tensors = 1;
  allow(quota);
  connect(a);
  load_for(a, 1);
  const ArenaId arena = hold_results(a, 2, kModel, 7, {4096});
  broker->worker_gone("it was ended");
  send(a, 3, encode_for(kModel));
  expect_busy(a, 3, "tensors");
  release(a, 4, {{arena, 4096}});
  send(a, 5, encode_for(kModel));
  EXPECT_EQ(a.terminals(5), 0u);
}

}  // namespace
}  // namespace hearth::broker
