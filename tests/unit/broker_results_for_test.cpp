#include "tests/unit/broker_results_for_test.h"

namespace hearth::broker {

contract::Encode ResultsForTest::encode_for(const std::string& model, std::size_t n_layers) {
  contract::Encode message;
  message.model = model;
  message.messages = request_for(model).messages;
  for (std::size_t i = 0; i < n_layers; ++i) message.layers.push_back(-1);
  return message;
}

contract::Tensor ResultsForTest::tensor_at(ArenaId arena, std::uint64_t offset) {
  contract::Tensor tensor;
  tensor.arena = arena;
  tensor.offset = offset;
  tensor.nbytes = kResultBytes;
  tensor.dtype = "f32";
  tensor.shape = {4, 4};
  return tensor;
}

contract::Encoded ResultsForTest::encoded(std::vector<contract::Tensor> tensors) {
  contract::Encoded reply;
  reply.tensors = std::move(tensors);
  reply.prompt_token_ids = "abcd";
  return reply;
}

double ResultsForTest::violations_of_engine() const {
  const auto& series = broker->core().telemetry.counts.series(Metric::kProtocolErrors);
  const auto found = series.find({"engine"});
  return found == series.end() ? 0.0 : found->second.value;
}

bool ResultsForTest::lend(ConnectionId client, ArenaId worker_arena, std::uint64_t nbytes,
                          std::size_t n_fds) {
  contract::LendArena message;
  message.client = client;
  message.arena = worker_arena;
  message.nbytes = nbytes;
  std::vector<Fd> fds;
  for (std::size_t i = 0; i < n_fds; ++i) fds.emplace_back(::open("/dev/null", O_RDONLY));
  const double violations = violations_of_engine();
  broker->receive_from_worker(frame_of(0, message, std::move(fds)));
  return violations_of_engine() == violations;
}

bool ResultsForTest::take_back(ArenaId worker_arena) {
  contract::TakeBackArena message;
  message.arena = worker_arena;
  const double violations = violations_of_engine();
  from_worker(0, message);
  return violations_of_engine() == violations;
}

ArenaId ResultsForTest::arena_of(const FakeClient& client) {
  ArenaId arena = 0;
  for (const OutFrame& frame : client.of(0))
    if (frame.type == contract::OutArena::kType)
      arena = contract::unpack<contract::OutArena>(bytes_of(frame.body))->arena;
  return arena;
}

std::vector<ArenaId> ResultsForTest::gone_arenas(const FakeClient& client) {
  std::vector<ArenaId> gone;
  for (const OutFrame& frame : client.of(0))
    if (frame.type == contract::OutArenaGone::kType)
      gone.push_back(contract::unpack<contract::OutArenaGone>(bytes_of(frame.body))->arena);
  return gone;
}

ArenaId ResultsForTest::hold_results(FakeClient& client, std::uint32_t request_id,
                                     const std::string& model, ArenaId worker_arena,
                                     const std::vector<std::uint64_t>& offsets) {
  send(client, request_id, encode_for(model, offsets.size()));
  EXPECT_TRUE(lend(client.id, worker_arena));
  answer_encode(worker_arena, offsets);
  EXPECT_EQ(client.answer<contract::Encoded>(request_id).tensors.size(), offsets.size());
  return arena_of(client);
}

void ResultsForTest::answer_encode(ArenaId worker_arena,
                                   const std::vector<std::uint64_t>& offsets) {
  std::vector<contract::Tensor> tensors;
  for (const std::uint64_t offset : offsets) tensors.push_back(tensor_at(worker_arena, offset));
  from_worker(last_encode(), encoded(tensors));
}

void ResultsForTest::release(FakeClient& client, std::uint32_t request_id,
                             const std::vector<contract::Slot>& slots) {
  contract::Release message;
  message.slots = slots;
  send(client, request_id, message);
}

void ResultsForTest::end_cancelled_jobs() {
  contract::Error cancelled;
  cancelled.code = "cancelled";
  for (const OutFrame& frame : worker.of_type(contract::Cancel::kType))
    from_worker(frame.request_id, cancelled);
}

contract::ReleaseSlots ResultsForTest::last_release() const {
  return *contract::unpack<contract::ReleaseSlots>(
      bytes_of(worker.last<contract::ReleaseSlots>().body));
}

void ResultsTest::SetUp() {
  connect(client);
  start_worker(2);
  model = hold_hot_model(client, 1000);
}

void ResultsTest::TearDown() {
  for (FakeClient* each : {&client, &other}) broker->disconnect(each->id);
  end_cancelled_jobs();
  expect_empty_ledger();
}

void ResultsTest::join() {
  connect(other);
  contract::OfferModel message;
  message.labels = {"model.safetensors"};
  std::vector<Fd> fds;
  fds.push_back(folder.open("a"));
  send(other, 1000, message, std::move(fds));
  off_loop.run_all();
}

void ResultsTest::come_back() {
  tick_after(Milliseconds(5000));
  worker_is_ready();
}

}  // namespace hearth::broker
