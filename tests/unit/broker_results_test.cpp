// Results in shared memory: lent by the engine, held by a client, released, and who dies meanwhile.
#include <algorithm>

#include "tests/unit/broker_results_for_test.h"

namespace hearth::broker {
namespace {

using Results = ResultsTest;

TEST_F(Results, WorkerLearnsWhoseAJobIsBeforeItGetsTheJob) {
  contract::Encode message = encode_for(model, 2);
  message.dtype = "f16";
  send(client, 1, message);
  ASSERT_GE(worker.sent.size(), 2u);
  const OutFrame& assigned = worker.sent[worker.sent.size() - 2];
  const OutFrame& job = worker.sent.back();
  ASSERT_EQ(assigned.type, contract::AssignJob::kType);
  ASSERT_EQ(job.type, contract::Encode::kType);
  EXPECT_EQ(assigned.request_id, job.request_id);
  const auto assignment = contract::unpack<contract::AssignJob>(bytes_of(assigned.body));
  EXPECT_EQ(assignment->client, client.id);
  EXPECT_EQ(assignment->out_bytes, core().config.limits.arena_bytes);
  EXPECT_EQ(*contract::unpack<contract::Encode>(bytes_of(job.body)), message);
}

TEST_F(Results, TheWorkerKnowsWhoseJobEachIs) {
  FakeClient other;
  connect(other, true, 1001);
  ASSERT_EQ(hold_same_model(other, 1), model);
  send(client, 1, request_for(model));
  send(other, 2, encode_for(model));
  const auto assigned = worker.of_type(contract::AssignJob::kType);
  ASSERT_EQ(assigned.size(), 2u);
  EXPECT_EQ(assigned[0].request_id, worker.last<contract::Generate>().request_id);
  EXPECT_EQ(assigned[1].request_id, last_encode());
  EXPECT_EQ(contract::unpack<contract::AssignJob>(bytes_of(assigned[0].body))->user, 1000u);
  EXPECT_EQ(contract::unpack<contract::AssignJob>(bytes_of(assigned[1].body))->user, 1001u);
  broker->disconnect(other.id);
  contract::Error cancelled;
  cancelled.code = "cancelled";
  for (const OutFrame& frame : assigned) from_worker(frame.request_id, cancelled);
}

TEST_F(Results, EncodeIsCheckedLikeGenerate) {
  send(client, 1, encode_for(model, 0));
  const auto error = client.answer<contract::Error>(1);
  EXPECT_EQ(error.code, "bad_request");
  EXPECT_NE(error.what.find("layers"), std::string::npos);
  send(client, 2, encode_for("no-such-model"));
  EXPECT_EQ(client.error_code(2), "unknown_model");
  contract::Encode foreign = encode_for(model);
  auto with_picture = request_for(model);
  add_picture(with_picture, 77);
  foreign.messages = with_picture.messages;
  send(client, 3, foreign);
  EXPECT_EQ(client.error_code(3), "bad_tensor");
  EXPECT_EQ(worker.count<contract::Encode>(), 0u);
  EXPECT_EQ(status(client, 4).failed, 3u);
}

TEST_F(Results, TensorsOfAnOutArenaAreNotInput) {
  const ArenaId arena = hold_results(client, 1, model, 7, {4096});
  auto message = request_for(model);
  add_picture(message, arena);
  send(client, 2, message);
  EXPECT_EQ(client.error_code(2), "bad_tensor");
  contract::ArenaDrop drop;
  drop.arena = arena;
  send(client, 3, drop);
  EXPECT_EQ(client.error_code(3), "bad_request");
}

TEST_F(Results, ArenaReachesTheClientUnderAnIdOfTheBrokerBeforeTheReply) {
  const ArenaId in = grant_arena(client, 1);
  send(client, 2, encode_for(model, 2));
  timer.pass(Milliseconds(30));
  EXPECT_TRUE(lend(client.id, in));  // the worker's ids are another world
  contract::Encoded reply = encoded({tensor_at(in, 4096), tensor_at(in, 8192)});
  reply.receipt.prefill_ms = 12.5;
  from_worker(last_encode(), reply);
  const ArenaId out = arena_of(client);
  EXPECT_GT(out, in);
  const auto told = client.of(0).back();
  ASSERT_EQ(told.type, contract::OutArena::kType);
  EXPECT_EQ(told.fds.size(), 1u);
  EXPECT_EQ(client.received.back().type, contract::Encoded::kType);
  const auto answer = client.answer<contract::Encoded>(2);
  ASSERT_EQ(answer.tensors.size(), 2u);
  EXPECT_EQ(answer.tensors[0], tensor_at(out, 4096));
  EXPECT_EQ(answer.tensors[1], tensor_at(out, 8192));
  EXPECT_EQ(answer.prompt_token_ids, "abcd");
  EXPECT_NEAR(answer.receipt.total_ms, 30, 1e-6);
  EXPECT_EQ(answer.receipt.prefill_ms, 12.5);
  EXPECT_EQ(answer.receipt.first_token_ms, 0.0);  // there is none
  EXPECT_EQ(answer.receipt.model, model);
}

TEST_F(Results, BrokerKeepsNoDescriptorOfAnOutArena) {
  send(client, 1, encode_for(model));
  const int adopted = off_loop.adopted;
  EXPECT_TRUE(lend(client.id, 7));
  EXPECT_EQ(client.received.back().fds.at(0).use_count(), 1);
  EXPECT_EQ(off_loop.adopted, adopted + 1);  // its last owner closes it off the loop
  answer_encode(7, {4096});
}

TEST_F(Results, StatusShowsArenasAndResultsOfBothDirections) {
  const ArenaId in = grant_arena(client, 1, 65536);
  const ArenaId out = hold_results(client, 2, model, 7, {4096, 8192});
  const auto report = status(client, 3);
  EXPECT_EQ(report.arenas, 2u);
  EXPECT_EQ(report.arena_bytes, 65536 + kLentBytes);
  EXPECT_EQ(report.results, 2u);
  EXPECT_EQ(report.result_bytes, 2 * kResultBytes);
  EXPECT_EQ(report.served, 1u);
  const auto& entry = report.clients.at(0);
  EXPECT_EQ(entry.uid, 1000u);
  EXPECT_EQ(entry.arenas, 2u);
  EXPECT_EQ(entry.arena_bytes, 65536 + kLentBytes);
  EXPECT_EQ(entry.results, 2u);
  EXPECT_NE(in, out);
}

TEST_F(Results, ReleaseIsForwardedUnderTheWorkersIdsOneMessageAnArena) {
  const ArenaId first = hold_results(client, 1, model, 7, {4096, 8192, 12288});
  const ArenaId second = hold_results(client, 2, model, 9, {4096});
  release(client, 3, {{first, 4096}, {second, 4096}, {first, 12288}});
  client.answer<contract::Released>(3);
  const auto sent = worker.of_type(contract::ReleaseSlots::kType);
  ASSERT_EQ(sent.size(), 2u);
  const auto a = contract::unpack<contract::ReleaseSlots>(bytes_of(sent[0].body));
  const auto b = contract::unpack<contract::ReleaseSlots>(bytes_of(sent[1].body));
  EXPECT_EQ(a->arena, 7u);
  EXPECT_EQ(a->offsets, (std::vector<std::uint64_t>{4096, 12288}));
  EXPECT_EQ(b->arena, 9u);
  EXPECT_EQ(b->offsets, std::vector<std::uint64_t>{4096});
  EXPECT_EQ(core().out_arenas.results(), 1u);
  EXPECT_EQ(core().out_arenas.result_bytes(), kResultBytes);
  EXPECT_EQ(core().accounts.held_by(1000).tensors, 1u);
}

TEST_F(Results, ReleasedMemoryMayCarryTheNextResult) {
  const ArenaId arena = hold_results(client, 1, model, 7, {4096});
  release(client, 2, {{arena, 4096}});
  send(client, 3, encode_for(model));
  answer_encode(7, {4096});
  EXPECT_EQ(client.answer<contract::Encoded>(3).tensors.at(0), tensor_at(arena, 4096));
}

TEST_F(Results, ReleaseIsAllOrNothing) {
  join();
  const ArenaId arena = hold_results(client, 1, model, 7, {4096, 8192});
  const ArenaId of_other = hold_results(other, 1, model, 9, {4096});
  const std::vector<std::vector<contract::Slot>> bad = {
      {{arena, 4096}, {arena, 12288}},     // no result there
      {{arena, 4096}, {arena, 4096}},      // named twice
      {{arena, 4096}, {of_other, 4096}},   // of another connection
      {{arena, 4096}, {999, 4096}},        // no such arena
      {{arena, 4096}, {7, 4096}},          // an id of the worker
      {{of_other, 4096}, {arena, 4096}}};  // the order does not matter
  std::uint32_t request_id = 10;
  for (const auto& slots : bad) {
    release(client, ++request_id, slots);
    const auto error = client.answer<contract::Error>(request_id);
    EXPECT_EQ(error.code, "bad_request") << request_id;
    EXPECT_NE(error.what.find("of arena"), std::string::npos) << error.what;
  }
  EXPECT_EQ(worker.count<contract::ReleaseSlots>(), 0u);
  EXPECT_EQ(core().out_arenas.results(), 3u);
  release(client, 30, {{arena, 4096}, {arena, 8192}});
  client.answer<contract::Released>(30);
}

TEST_F(Results, SecondReleaseOfASlotIsAnError) {
  const ArenaId arena = hold_results(client, 1, model, 7, {4096});
  release(client, 2, {{arena, 4096}});
  client.answer<contract::Released>(2);
  release(client, 3, {{arena, 4096}});
  EXPECT_EQ(client.error_code(3), "bad_request");
  EXPECT_EQ(worker.count<contract::ReleaseSlots>(), 1u);
}

TEST_F(Results, ReleaseWorksWhileTheServiceStopsAndWhenTooMuchIsOpen) {
  const ArenaId arena = hold_results(client, 1, model, 7, {4096});
  for (std::uint32_t id = 100; id < 164; ++id) send(client, id, request_for(model));
  send(client, 164, request_for(model));
  EXPECT_EQ(client.error_code(164), "busy");
  broker->stop("test");
  release(client, 2, {{arena, 4096}});
  client.answer<contract::Released>(2);
}

TEST_F(Results, EmptyArenaThatTheWorkerTakesBackIsGone) {
  const ArenaId arena = hold_results(client, 1, model, 7, {4096});
  release(client, 2, {{arena, 4096}});
  EXPECT_TRUE(take_back(7));
  EXPECT_EQ(gone_arenas(client), std::vector<ArenaId>{arena});
  EXPECT_EQ(core().out_arenas.size(), 0u);
  EXPECT_EQ(core().arena_bytes_asked, 0u);
  EXPECT_EQ(core().clients.at(client.id).arenas_asked, 0u);
  release(client, 3, {{arena, 4096}});
  EXPECT_EQ(client.error_code(3), "bad_request");
  EXPECT_GT(hold_results(client, 4, model, 8, {4096}), arena);
}

TEST_F(Results, WorkerThatTakesBackWhatIsHeldMakesNoSense) {
  hold_results(client, 1, model, 7, {4096});
  EXPECT_FALSE(take_back(7));
  EXPECT_TRUE(gone_arenas(client).empty());
}

TEST_F(Results, WorkerThatLendsNonsenseIsEnded) {
  send(client, 1, encode_for(model));
  EXPECT_FALSE(lend(client.id, 7, kLentBytes, 0));
  EXPECT_FALSE(lend(client.id, 7, kLentBytes, 2));
  EXPECT_FALSE(lend(client.id + 100, 7));  // never connected
  join();
  EXPECT_FALSE(lend(other.id, 7));  // nothing was assigned for it
  EXPECT_TRUE(lend(client.id, 7));
  EXPECT_FALSE(lend(client.id, 7));  // an id in use
  EXPECT_EQ(core().out_arenas.size(), 1u);
  answer_encode(7, {4096});
}

TEST_F(Results, ReplyOfAnotherKindThanTheRequestEndsTheWorker) {
  send(client, 1, encode_for(model));
  from_worker(last_encode(), generated("words"));
  EXPECT_EQ(worker.kills, 1);
  send(client, 2, request_for(model));
  from_worker(worker.last<contract::Generate>().request_id, encoded({}));
  EXPECT_EQ(worker.kills, 1);  // it is on its way already
  EXPECT_EQ(client.terminals(1) + client.terminals(2), 0u);
  lose_worker();
}

TEST_F(Results, TensorsThatTheWorkerMayNotHandOverAreAnInternalError) {
  join();
  hold_results(other, 1, model, 9, {4096});
  hold_results(client, 1, model, 7, {4096});
  contract::Tensor outside = tensor_at(7, kLentBytes);
  contract::Tensor misshapen = tensor_at(7, 8192);
  misshapen.shape = {5, 5};
  const std::vector<contract::Tensor> bad = {tensor_at(55, 4096), tensor_at(9, 8192), outside,
                                             misshapen, tensor_at(7, 4096)};
  std::uint32_t request_id = 10;
  for (const contract::Tensor& tensor : bad) {
    send(client, ++request_id, encode_for(model, 2));
    from_worker(last_encode(), encoded({tensor_at(7, 16384), tensor}));
    EXPECT_EQ(client.error_code(request_id), "internal") << request_id;
    EXPECT_EQ(core().out_arenas.results(), 2u);
  }
  send(client, 20, encode_for(model, 2));
  from_worker(last_encode(), encoded({tensor_at(7, 16384), tensor_at(7, 16384)}));
  EXPECT_EQ(client.error_code(20), "internal");
  EXPECT_EQ(last_release().offsets, std::vector<std::uint64_t>{16384});  // once, the good one
  for (const OutFrame& frame : worker.of_type(contract::ReleaseSlots::kType)) {
    const auto freed = contract::unpack<contract::ReleaseSlots>(bytes_of(frame.body));
    EXPECT_EQ(std::count(freed->offsets.begin(), freed->offsets.end(), 4096), 0);  // still held
  }
  EXPECT_EQ(core().accounts.held_by(1000).tensors, 2u);
}

}  // namespace
}  // namespace hearth::broker
