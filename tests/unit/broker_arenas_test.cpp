// Shared memory: granted, checked, given back.
#include <sys/stat.h>

#include "shm/segment.h"
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class ArenasTest : public BrokerTest {
 protected:
  void drop(FakeClient& client, std::uint32_t request_id, ArenaId arena) {
    contract::ArenaDrop message;
    message.arena = arena;
    send(client, request_id, message);
  }
};

TEST_F(ArenasTest, GrantCarriesASealedSegmentOfTheNamedSize) {
  FakeClient client;
  connect(client);
  contract::ArenaAsk ask;
  ask.nbytes = 10'000;
  send(client, 1, ask);
  EXPECT_EQ(client.terminals(1), 0u);  // made on another thread
  off_loop.run_all();
  const auto grant = client.answer<contract::ArenaGrant>(1);
  EXPECT_EQ(grant.nbytes, 12'288u);
  const OutFrame frame = client.of(1).back();
  ASSERT_EQ(frame.fds.size(), 1u);
  EXPECT_TRUE(check_segment(*frame.fds[0], grant.nbytes));
}

TEST_F(ArenasTest, IdsAreNeverUsedAgain) {
  FakeClient client;
  FakeClient other;
  connect(client);
  connect(other);
  const ArenaId first = grant_arena(client, 1);
  drop(client, 2, first);
  const ArenaId second = grant_arena(client, 3);
  const ArenaId third = grant_arena(other, 1);
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
}

TEST_F(ArenasTest, CountAndBytesAreLimitedForEachConnection) {
  Config config;
  config.limits.arenas = 2;
  config.limits.arena_bytes = 1 << 20;
  make_broker(config);
  FakeClient client;
  connect(client);
  contract::ArenaAsk ask;
  ask.nbytes = (1 << 20) + 1;
  send(client, 1, ask);
  EXPECT_EQ(client.error_code(1), "busy");
  ask.nbytes = 65536;
  for (const std::uint32_t id : {2u, 3u, 4u}) send(client, id, ask);  // pending ones count
  EXPECT_EQ(client.error_code(4), "busy");
  off_loop.run_all();
  drop(client, 5, client.answer<contract::ArenaGrant>(2).arena);
  grant_arena(client, 6);
}

TEST_F(ArenasTest, AllClientsTogetherAreLimited) {
  Config config;
  config.all_arena_bytes = 100'000;
  make_broker(config);
  FakeClient a;
  FakeClient b;
  connect(a);
  connect(b);
  grant_arena(a, 1, 65536);
  contract::ArenaAsk ask;
  ask.nbytes = 65536;
  send(b, 1, ask);
  EXPECT_EQ(b.error_code(1), "busy");
  broker->disconnect(a.id);
  grant_arena(b, 2, 65536);
}

TEST_F(ArenasTest, DropOfAForeignUnknownOrDroppedArenaIsRefused) {
  FakeClient a;
  FakeClient b;
  connect(a);
  connect(b);
  const ArenaId arena = grant_arena(a, 1);
  drop(b, 1, arena);
  EXPECT_EQ(b.error_code(1), "bad_request");
  drop(a, 2, 999);
  EXPECT_EQ(a.error_code(2), "bad_request");
  drop(a, 3, arena);
  a.answer<contract::ArenaDropped>(3);
  EXPECT_TRUE(broker->core().clients.at(a.id).arenas.empty());
  drop(a, 4, arena);
  EXPECT_EQ(a.error_code(4), "bad_request");
}

TEST_F(ArenasTest, ArenaThatArrivesAfterItsClientIsForgotten) {
  FakeClient client;
  connect(client);
  contract::ArenaAsk ask;
  ask.nbytes = 65536;
  send(client, 1, ask);
  broker->disconnect(client.id);
  off_loop.run_all();
  EXPECT_EQ(broker->core().arenas.size(), 0u);
  EXPECT_EQ(broker->core().arena_bytes_asked, 0u);
}

TEST_F(ArenasTest, CancelledAskGivesItsBytesBack) {
  FakeClient client;
  connect(client);
  contract::ArenaAsk ask;
  ask.nbytes = 65536;
  send(client, 1, ask);
  send(client, 1, contract::Cancel{});
  EXPECT_EQ(client.error_code(1), "cancelled");
  off_loop.run_all();
  EXPECT_EQ(client.terminals(1), 1u);
  EXPECT_EQ(broker->core().arena_bytes_asked, 0u);
  EXPECT_EQ(broker->core().clients.at(client.id).arenas_asked, 0u);
}

TEST_F(ArenasTest, LateSegmentIsNotForTheNextRequestOfTheSameId) {
  FakeClient client;
  connect(client);
  start_worker();
  const std::string model = hold_hot_model(client, 10);
  contract::ArenaAsk ask;
  ask.nbytes = 65536;
  send(client, 7, ask);
  send(client, 7, contract::Cancel{});
  send(client, 7, request_for(model));
  off_loop.run_all();
  EXPECT_EQ(client.terminals(7), 1u);  // the cancelled ask
  EXPECT_EQ(broker->core().arenas.size(), 0u);
  EXPECT_EQ(broker->core().arena_bytes_asked, 0u);
  from_worker(worker.last<contract::Generate>().request_id, generated("done"));
  EXPECT_EQ(client.terminals(7), 2u);
  EXPECT_EQ(client.received.back().type, contract::Generated::kType);
}

TEST_F(ArenasTest, SegmentsAreClosedOffTheLoop) {
  FakeClient client;
  connect(client);
  grant_arena(client, 1);
  EXPECT_EQ(off_loop.adopted, 1);
  contract::ArenaAsk ask;
  ask.nbytes = 65536;
  send(client, 2, ask);
  send(client, 2, contract::Cancel{});
  off_loop.run_all();
  EXPECT_EQ(off_loop.adopted, 2);
}

TEST_F(ArenasTest, DroppedArenaCountsWhileAJobReadsIt) {
  Config config;
  config.limits.arena_bytes = 65536;
  make_broker(config);
  FakeClient client;
  connect(client);
  start_worker();
  const std::string model = hold_hot_model(client, 10);
  const ArenaId arena = grant_arena(client, 1);
  auto message = request_for(model);
  add_picture(message, arena);
  send(client, 2, message);
  drop(client, 3, arena);
  contract::ArenaAsk ask;
  ask.nbytes = 65536;
  send(client, 4, ask);
  EXPECT_EQ(client.error_code(4), "busy");
  from_worker(worker.last<contract::Generate>().request_id, generated("done"));
  EXPECT_EQ(broker->core().arena_bytes_asked, 0u);
  grant_arena(client, 5);
}

TEST_F(ArenasTest, TensorsAreCheckedAgainstTheArenasOfTheirOwnConnection) {
  FakeClient a;
  FakeClient b;
  connect(a);
  connect(b);
  start_worker();
  const std::string model = hold_hot_model(b, 10);
  const ArenaId foreign = grant_arena(a, 1);
  const ArenaId own = grant_arena(b, 1);
  auto of_other = request_for(model);
  add_picture(of_other, foreign);
  send(b, 2, of_other);
  EXPECT_EQ(b.error_code(2), "bad_tensor");
  auto outside = request_for(model);
  add_picture(outside, own, 65536);
  send(b, 3, outside);
  EXPECT_EQ(b.error_code(3), "bad_tensor");
  auto without = request_for(model);
  add_picture(without, own);
  without.messages[0].content.back().tensor.reset();
  send(b, 4, without);
  EXPECT_EQ(b.error_code(4), "bad_request");
  EXPECT_EQ(worker.count<contract::Generate>(), 0u);
}

TEST_F(ArenasTest, TooManyTensorsAreRefused) {
  Config config;
  config.limits.tensors = 2;
  make_broker(config);
  FakeClient client;
  connect(client);
  start_worker();
  const std::string model = hold_hot_model(client, 10);
  const ArenaId arena = grant_arena(client, 1);
  auto message = request_for(model);
  for (int i = 0; i < 3; ++i) add_picture(message, arena);
  send(client, 2, message);
  EXPECT_EQ(client.error_code(2), "bad_request");
}

TEST_F(ArenasTest, WorkerGetsAnArenaOnceAndBeforeTheJobThatReadsIt) {
  FakeClient client;
  connect(client);
  start_worker();
  const std::string model = hold_hot_model(client, 10);
  const ArenaId arena = grant_arena(client, 1);
  auto message = request_for(model);
  add_picture(message, arena);
  add_picture(message, arena);
  send(client, 2, message);
  send(client, 3, message);
  ASSERT_EQ(worker.count<contract::AttachArena>(), 1u);
  EXPECT_EQ(worker.last<contract::AttachArena>().fds.size(), 1u);
  std::vector<std::uint8_t> order;
  for (const OutFrame& frame : worker.sent)
    if (frame.type == contract::AttachArena::kType || frame.type == contract::Generate::kType)
      order.push_back(frame.type);
  EXPECT_EQ(order.front(), contract::AttachArena::kType);
}

TEST_F(ArenasTest, DroppedArenaStaysUntilTheLastJobThatReadsItEnds) {
  FakeClient client;
  connect(client);
  start_worker();
  const std::string model = hold_hot_model(client, 10);
  const ArenaId arena = grant_arena(client, 1);
  auto message = request_for(model);
  add_picture(message, arena);
  send(client, 2, message);
  drop(client, 3, arena);
  client.answer<contract::ArenaDropped>(3);
  EXPECT_EQ(worker.count<contract::DetachArena>(), 0u);
  EXPECT_EQ(broker->core().arenas.size(), 1u);
  send(client, 4, message);  // void for new requests
  EXPECT_EQ(client.error_code(4), "bad_tensor");
  from_worker(worker.last<contract::Generate>().request_id, generated("done"));
  EXPECT_EQ(worker.count<contract::DetachArena>(), 1u);
  EXPECT_EQ(broker->core().arenas.size(), 0u);
}

TEST_F(ArenasTest, ArenasOfADeadClientLeaveWhenTheWorkerHasAnswered) {
  FakeClient client;
  connect(client);
  start_worker();
  const std::string model = hold_hot_model(client, 10);
  const ArenaId used = grant_arena(client, 1);
  grant_arena(client, 2);
  auto message = request_for(model);
  add_picture(message, used);
  send(client, 3, message);
  broker->disconnect(client.id);
  EXPECT_EQ(broker->core().arenas.size(), 1u);
  EXPECT_EQ(worker.count<contract::Cancel>(), 1u);
  contract::Error cancelled;
  cancelled.code = "cancelled";
  from_worker(worker.last<contract::Generate>().request_id, cancelled);
  EXPECT_EQ(broker->core().arenas.size(), 0u);
  EXPECT_EQ(broker->core().jobs.size(), 0u);
  EXPECT_EQ(broker->core().running, 0u);
}

TEST_F(ArenasTest, NewWorkerGetsTheArenaAgain) {
  FakeClient client;
  connect(client);
  start_worker();
  auto message = request_for(hold_hot_model(client, 10));
  add_picture(message, grant_arena(client, 1));
  send(client, 2, message);
  broker->worker_gone("it was ended");
  tick_after(Milliseconds(100));
  worker_is_ready();
  send(client, 3, message);
  recognise();
  finish_load();
  EXPECT_EQ(worker.count<contract::AttachArena>(), 2u);
}

}  // namespace
}  // namespace hearth::broker
