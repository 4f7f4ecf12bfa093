// Results in shared memory when somebody cancels, dies or comes late: nothing stays behind.
#include "tests/unit/broker_results_for_test.h"

namespace hearth::broker {
namespace {

using ResultsDeaths = ResultsTest;

TEST_F(ResultsDeaths, ResultOfACancelledRequestGoesBackToTheWorker) {
  send(client, 1, encode_for(model, 2));
  EXPECT_TRUE(lend(client.id, 7));
  send(client, 1, contract::Cancel{});
  answer_encode(7, {4096, 8192});  // it was made before the worker read of the cancel
  EXPECT_EQ(client.error_code(1), "cancelled");
  EXPECT_EQ(last_release().arena, 7u);
  EXPECT_EQ(last_release().offsets, (std::vector<std::uint64_t>{4096, 8192}));
  EXPECT_EQ(core().out_arenas.results(), 0u);
  EXPECT_EQ(core().accounts.held_by(1000).tensors, 0u);
}

TEST_F(ResultsDeaths, ClientThatDiesWithResultsIsForgottenByTheWorker) {
  hold_results(client, 1, model, 7, {4096, 8192});
  hold_results(client, 2, model, 8, {4096});
  broker->disconnect(client.id);
  ASSERT_EQ(forgotten(), 1u);
  const auto message = contract::unpack<contract::ForgetClient>(
      bytes_of(worker.last<contract::ForgetClient>().body));
  EXPECT_EQ(message->client, client.id);
  EXPECT_EQ(worker.count<contract::ReleaseSlots>(), 0u);
  EXPECT_EQ(core().out_arenas.size(), 0u);
  EXPECT_EQ(core().arena_bytes_asked, 0u);
  EXPECT_TRUE(core().accounts.empty());
  EXPECT_TRUE(take_back(8));  // sent before the worker heard of it
}

TEST_F(ResultsDeaths, OnlyAClientThatTheWorkerHeardOfIsForgottenThere) {
  FakeClient silent;
  connect(silent);
  broker->disconnect(silent.id);
  EXPECT_EQ(forgotten(), 0u);
  send(client, 1, request_for(model));
  from_worker(worker.last<contract::Generate>().request_id, generated("x"));
  broker->disconnect(client.id);
  EXPECT_EQ(forgotten(), 1u);
}

TEST_F(ResultsDeaths, ArenaThatArrivesAfterItsClientIsGoneIsClosedAndNotCounted) {
  send(client, 1, encode_for(model));
  const JobId job = last_encode();
  broker->disconnect(client.id);
  ASSERT_EQ(forgotten(), 1u);
  EXPECT_EQ(worker.count<contract::Cancel>(), 1u);
  EXPECT_EQ(worker.sent.back().type, contract::ForgetClient::kType);  // after the cancel
  const int adopted = off_loop.adopted;
  EXPECT_TRUE(lend(client.id, 7));
  EXPECT_EQ(off_loop.adopted, adopted + 1);
  EXPECT_EQ(core().out_arenas.size(), 0u);
  EXPECT_EQ(core().arena_bytes_asked, 0u);
  from_worker(job, encoded({tensor_at(7, 4096)}));
  EXPECT_EQ(worker.count<contract::ReleaseSlots>(), 0u);  // it went with the client
  EXPECT_EQ(core().jobs.size(), 0u);
}

TEST_F(ResultsDeaths, LostWorkersEmptyArenasGoAndTheOthersStayUntilReleased) {
  const ArenaId empty = hold_results(client, 1, model, 7, {4096});
  release(client, 2, {{empty, 4096}});
  const ArenaId full = hold_results(client, 3, model, 8, {4096, 8192});
  const std::size_t forwarded = worker.count<contract::ReleaseSlots>();
  lose_worker();
  EXPECT_EQ(gone_arenas(client), std::vector<ArenaId>{empty});
  EXPECT_EQ(core().out_arenas.size(), 1u);
  EXPECT_EQ(core().arena_bytes_asked, kLentBytes);
  EXPECT_EQ(status(client, 4).results, 2u);
  release(client, 5, {{full, 4096}});
  client.answer<contract::Released>(5);
  EXPECT_EQ(core().out_arenas.size(), 1u);
  release(client, 6, {{full, 8192}});
  client.answer<contract::Released>(6);
  EXPECT_EQ(gone_arenas(client), (std::vector<ArenaId>{empty, full}));
  EXPECT_EQ(core().out_arenas.size(), 0u);
  EXPECT_EQ(core().arena_bytes_asked, 0u);
  EXPECT_EQ(core().accounts.held_by(1000).tensors, 0u);
  EXPECT_EQ(worker.count<contract::ReleaseSlots>(), forwarded);
  release(client, 7, {{full, 8192}});
  EXPECT_EQ(client.error_code(7), "bad_request");
}

TEST_F(ResultsDeaths, SecondLossTellsNobodyTwice) {
  const ArenaId arena = hold_results(client, 1, model, 7, {4096});
  lose_worker();
  come_back();
  lose_worker();
  release(client, 2, {{arena, 4096}});
  come_back();
  lose_worker();
  EXPECT_EQ(gone_arenas(client).size(), 1u);
}

TEST_F(ResultsDeaths, NextWorkerMayUseTheSameIdsAndKnowsNoClient) {
  const ArenaId old = hold_results(client, 1, model, 7, {4096});
  lose_worker();
  come_back();
  EXPECT_FALSE(lend(client.id, 7));  // nothing was assigned to this worker
  send(client, 2, encode_for(model));
  recognise();
  finish_load();
  EXPECT_TRUE(lend(client.id, 7));
  answer_encode(7, {4096});
  const ArenaId now = arena_of(client);
  EXPECT_NE(now, old);
  EXPECT_EQ(client.answer<contract::Encoded>(2).tensors.at(0).arena, now);
  release(client, 3, {{old, 4096}});
  EXPECT_EQ(worker.count<contract::ReleaseSlots>(), 0u);
  release(client, 4, {{now, 4096}});
  client.answer<contract::Released>(4);
  EXPECT_EQ(last_release().arena, 7u);
  EXPECT_TRUE(take_back(7));
  EXPECT_EQ(gone_arenas(client), (std::vector<ArenaId>{old, now}));
}

TEST_F(ResultsDeaths, ClientThatDiesWithResultsOfALostWorkerLeavesNothing) {
  hold_results(client, 1, model, 7, {4096});
  lose_worker();
  broker->disconnect(client.id);
  EXPECT_EQ(forgotten(), 0u);
  EXPECT_EQ(core().out_arenas.size(), 0u);
  EXPECT_TRUE(core().accounts.empty());
}

TEST_F(ResultsDeaths, RequestOpenWhenTheWorkerIsLostGivesItsTensorsBack) {
  send(client, 1, encode_for(model, 3));
  EXPECT_TRUE(lend(client.id, 7));
  EXPECT_EQ(core().accounts.held_by(1000).tensors, 3u);
  lose_worker();
  EXPECT_EQ(client.error_code(1), "worker_lost");
  EXPECT_EQ(core().accounts.held_by(1000).tensors, 0u);
  EXPECT_EQ(core().out_arenas.size(), 0u);
}

TEST_F(ResultsDeaths, NothingIsSentAfterTheServiceHasStopped) {
  send(client, 1, encode_for(model));
  release(client, 3, {{hold_results(client, 2, model, 7, {4096}), 4096}});
  broker->stop("test");
  tick_after(Milliseconds(2000));
  EXPECT_TRUE(client.closed);
  EXPECT_TRUE(lend(client.id, 8));
  lose_worker();
}

}  // namespace
}  // namespace hearth::broker
