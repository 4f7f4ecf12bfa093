// An engine process that says what it should not: it is ended, and nobody else is the worse for it.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class LyingEngineTest : public BrokerTest {
 protected:
  void begin(std::uint64_t memory_bytes = 0) {
    Config config;
    config.heartbeat = Milliseconds(0);  // nobody answers pings here
    config.memory_bytes = memory_bytes;
    make_broker(config);
    connect(client);
    start_worker(1);
  }
  FakeClient client;
};

TEST_F(LyingEngineTest, AWordAboutAJobThatTheEngineWasNotGivenEndsIt) {
  begin();
  const std::string model = hold_hot_model(client, 1);
  send(client, 10, request_for(model));
  send(client, 11, request_for(model));  // waits for the slot
  const JobId waiting = broker->core().queue.order().at(0);
  contract::Error error;
  error.code = "out_of_memory";
  error.what = "none";
  error.retryable = true;
  from_worker(waiting, error);
  EXPECT_EQ(worker.kills, 1);
  EXPECT_EQ(broker->core().queue.size(), 1u) << "it waits once, where it was";
  EXPECT_EQ(client.terminals(11), 0u);
}

// Of what is passed on as it came: a client would give its connection up over it.
TEST_F(LyingEngineTest, WhatNobodyCanReadIsNotPassedOnAndEndsTheEngine) {
  int kills = 0;
  for (const std::uint8_t type :
       {contract::Error::kType, contract::Generated::kType, contract::Token::kType,
        contract::Progress::kType, contract::InputsDone::kType}) {
    begin();
    const std::string model = hold_hot_model(client, 1);
    send(client, 10, request_for(model));
    const JobId job = worker.last<contract::Generate>().request_id;
    client.received.clear();
    broker->receive_from_worker(InFrame{type, job, "junk", {}});
    EXPECT_EQ(worker.kills, ++kills) << contract::name_of_type(type);
    EXPECT_TRUE(client.received.empty()) << contract::name_of_type(type);
    broker->worker_gone("it was ended by Killed");
    EXPECT_NE(client.answer<contract::Error>(10).what.find("makes no sense"), std::string::npos);
  }
}

TEST_F(LyingEngineTest, ALeaverThatStaysIsNoReasonToWaitForEver) {
  begin(1500);
  plan.weights_bytes = 1000;
  hold_hot_model(client, 1, "a");
  const std::string wanted = hold_model(client, 5, "b");
  contract::LoadModel load;
  load.model = wanted;
  send(client, 10, load);
  contract::Error error;
  error.code = "internal";
  error.what = "it stays";
  from_worker(worker.last<contract::UnloadModel>().request_id, error);
  EXPECT_EQ(worker.count<contract::UnloadModel>(), 2u) << "room is looked for again";
  finish_unload();
  finish_load();
  EXPECT_EQ(client.answer<contract::ModelLoaded>(10).model, wanted);
}

}  // namespace
}  // namespace hearth::broker
