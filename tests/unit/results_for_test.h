// Results in shared memory: the engine's part of it played by the test.
#pragma once

#include "tests/unit/broker_for_test.h"

namespace hearth::broker {

inline constexpr std::uint64_t kLentBytes = 1 << 20;
inline constexpr std::uint64_t kResultBytes = 64;  // of every result in these tests

class ResultsForTest : public BrokerTest {
 protected:
  static contract::Encode encode_for(const std::string& model, std::size_t n_layers = 1) {
    contract::Encode message;
    message.model = model;
    message.messages = request_for(model).messages;
    for (std::size_t i = 0; i < n_layers; ++i) message.layers.push_back(-1);
    return message;
  }
  static contract::Tensor tensor_at(ArenaId arena, std::uint64_t offset) {
    contract::Tensor tensor;
    tensor.arena = arena;
    tensor.offset = offset;
    tensor.nbytes = kResultBytes;
    tensor.dtype = "f32";
    tensor.shape = {4, 4};
    return tensor;
  }
  static contract::Encoded encoded(std::vector<contract::Tensor> tensors) {
    contract::Encoded reply;
    reply.tensors = std::move(tensors);
    reply.prompt_token_ids = "abcd";
    return reply;
  }
  JobId last_encode() const { return worker.last<contract::Encode>().request_id; }

  // The engine makes an arena under its own id; false when the broker took it for nonsense.
  bool lend(ConnectionId client, ArenaId worker_arena, std::uint64_t nbytes = kLentBytes,
            std::size_t n_fds = 1) {
    contract::LendArena message;
    message.client = client;
    message.arena = worker_arena;
    message.nbytes = nbytes;
    std::vector<Fd> fds;
    for (std::size_t i = 0; i < n_fds; ++i) fds.emplace_back(::open("/dev/null", O_RDONLY));
    const int kills = worker.kills;
    broker->receive_from_worker(frame_of(0, message, std::move(fds)));
    return worker.kills == kills;
  }
  bool take_back(ArenaId worker_arena) {
    contract::TakeBackArena message;
    message.arena = worker_arena;
    const int kills = worker.kills;
    from_worker(0, message);
    return worker.kills == kills;
  }
  // The arena that the client was told of last.
  static ArenaId arena_of(const FakeClient& client) {
    ArenaId arena = 0;
    for (const OutFrame& frame : client.of(0))
      if (frame.type == contract::OutArena::kType)
        arena = contract::unpack<contract::OutArena>(bytes_of(frame.body))->arena;
    return arena;
  }
  static std::vector<ArenaId> gone_arenas(const FakeClient& client) {
    std::vector<ArenaId> gone;
    for (const OutFrame& frame : client.of(0))
      if (frame.type == contract::OutArenaGone::kType)
        gone.push_back(contract::unpack<contract::OutArenaGone>(bytes_of(frame.body))->arena);
    return gone;
  }

  // An encode request from start to end, its results at `offsets` of a new arena of the engine.
  // The arena's id as the client knows it.
  ArenaId hold_results(FakeClient& client, std::uint32_t request_id, const std::string& model,
                       ArenaId worker_arena, const std::vector<std::uint64_t>& offsets) {
    send(client, request_id, encode_for(model, offsets.size()));
    EXPECT_TRUE(lend(client.id, worker_arena));
    answer_encode(worker_arena, offsets);
    EXPECT_EQ(client.answer<contract::Encoded>(request_id).tensors.size(), offsets.size());
    return arena_of(client);
  }
  void answer_encode(ArenaId worker_arena, const std::vector<std::uint64_t>& offsets) {
    std::vector<contract::Tensor> tensors;
    for (const std::uint64_t offset : offsets) tensors.push_back(tensor_at(worker_arena, offset));
    from_worker(last_encode(), encoded(tensors));
  }
  void release(FakeClient& client, std::uint32_t request_id,
               const std::vector<contract::Slot>& slots) {
    contract::Release message;
    message.slots = slots;
    send(client, request_id, message);
  }
  // The worker reads the cancels of jobs whose clients are gone.
  void end_cancelled_jobs() {
    contract::Error cancelled;
    cancelled.code = "cancelled";
    for (const OutFrame& frame : worker.of_type(contract::Cancel::kType))
      from_worker(frame.request_id, cancelled);
  }
  contract::ReleaseSlots last_release() const {
    return *contract::unpack<contract::ReleaseSlots>(
        bytes_of(worker.last<contract::ReleaseSlots>().body));
  }
};

// One client with a hot model; a second one may join.
class ResultsTest : public ResultsForTest {
 protected:
  void SetUp() override {
    connect(client);
    start_worker(2);
    model = hold_hot_model(client, 1000);
  }
  // Every test ends with everybody gone and nothing left.
  void TearDown() override {
    for (FakeClient* each : {&client, &other}) broker->disconnect(each->id);
    end_cancelled_jobs();
    expect_empty_ledger();
  }
  void join() {
    connect(other);
    contract::OfferModel message;
    message.labels = {"model.safetensors"};
    std::vector<Fd> fds;
    fds.push_back(folder.open("a"));
    send(other, 1000, message, std::move(fds));
    off_loop.run_all();
  }
  void lose_worker() { broker->worker_gone("it was ended by Killed"); }
  void come_back() {
    tick_after(Milliseconds(5000));
    worker_is_ready();
  }
  const Core& core() const { return broker->core(); }
  std::size_t forgotten() const { return worker.count<contract::ForgetClient>(); }

  FakeClient client;
  FakeClient other;
  std::string model;
};

}  // namespace hearth::broker
