// Results in shared memory: the engine's part of it played by the test.
#pragma once

#include "tests/unit/broker_for_test.h"

namespace hearth::broker {

inline constexpr std::uint64_t kLentBytes = 1 << 20;
inline constexpr std::uint64_t kResultBytes = 64;  // of every result in these tests

class ResultsForTest : public BrokerTest {
 protected:
  static contract::Encode encode_for(const std::string& model, std::size_t n_layers = 1);
  static contract::Tensor tensor_at(ArenaId arena, std::uint64_t offset);
  static contract::Encoded encoded(std::vector<contract::Tensor> tensors);
  JobId last_encode() const { return worker.last<contract::Encode>().request_id; }

  // The engine makes an arena under its own id; false when the broker took it for nonsense.
  bool lend(ConnectionId client, ArenaId worker_arena, std::uint64_t nbytes = kLentBytes,
            std::size_t n_fds = 1);
  bool take_back(ArenaId worker_arena);
  // How often the broker took what the engine sent for nonsense.
  double violations_of_engine() const;
  // The arena that the client was told of last.
  static ArenaId arena_of(const FakeClient& client);
  static std::vector<ArenaId> gone_arenas(const FakeClient& client);

  // An encode request from start to end, its results at `offsets` of a new arena of the engine.
  // The arena's id as the client knows it.
  ArenaId hold_results(FakeClient& client, std::uint32_t request_id, const std::string& model,
                       ArenaId worker_arena, const std::vector<std::uint64_t>& offsets);
  void answer_encode(ArenaId worker_arena, const std::vector<std::uint64_t>& offsets);
  void release(FakeClient& client, std::uint32_t request_id,
               const std::vector<contract::Slot>& slots);
  // The worker reads the cancels of jobs whose clients are gone.
  void end_cancelled_jobs();
  contract::ReleaseSlots last_release() const;
};

// One client with a hot model; a second one may join.
class ResultsTest : public ResultsForTest {
 protected:
  void SetUp() override;
  // Every test ends with everybody gone and nothing left.
  void TearDown() override;
  void join();
  void lose_worker() { broker->worker_gone("it was ended by Killed"); }
  void come_back();
  const Core& core() const { return broker->core(); }
  std::size_t forgotten() const { return worker.count<contract::ForgetClient>(); }

  FakeClient client;
  FakeClient other;
  std::string model;
};

}  // namespace hearth::broker
