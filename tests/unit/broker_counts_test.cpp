// count_tokens: answered by the worker from a model's files, loaded or not.

#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class CountsTest : public BrokerTest {
 protected:
  // One picture of this shape, which lies nowhere.
  static contract::CountTokens question(const std::string& model) {
    contract::CountTokens message;
    message.model = model;
    contract::ContentPart part;
    part.kind = "image";
    part.tensor = contract::Tensor{};
    part.tensor->dtype = "u8";
    part.tensor->shape = {480, 640, 3};
    message.messages.push_back({"user", {part}});
    return message;
  }

  void answer(std::uint32_t prompt_tokens) {
    contract::TokensCounted counted;
    counted.prompt_tokens = prompt_tokens;
    counted.context_tokens = 100;
    from_worker(worker.last<contract::CountTokens>().request_id, counted);
  }

  FakeClient client;
};

TEST_F(CountsTest, AreAskedOfTheWorkerWithoutLoadingTheModel) {
  connect(client);
  start_worker();
  const std::string model = hold_model(client, 1);
  send(client, 2, question(model));
  const auto asked =
      contract::unpack<contract::CountTokens>(bytes_of(worker.last<contract::CountTokens>().body));
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->model, model);
  EXPECT_EQ(asked->messages[0].content[0].tensor->shape, (std::vector<std::int64_t>{480, 640, 3}));
  answer(17);
  EXPECT_EQ(client.answer<contract::TokensCounted>(2).prompt_tokens, 17u);
  EXPECT_EQ(worker.count<contract::LoadModel>(), 0u);
}

TEST_F(CountsTest, WaitUntilANewWorkerKnowsTheModel) {
  connect(client);
  start_worker();
  const std::string model = hold_model(client, 1);
  broker->worker_gone("for a test");
  send(client, 2, question(model));
  EXPECT_EQ(client.terminals(2), 0u);
  tick_after(Milliseconds(60'000));
  worker_is_ready();
  off_loop.run_all();
  EXPECT_EQ(worker.count<contract::CountTokens>(), 0u);
  recognise();
  ASSERT_EQ(worker.count<contract::CountTokens>(), 1u);
  answer(3);
  EXPECT_EQ(client.answer<contract::TokensCounted>(2).prompt_tokens, 3u);
}

TEST_F(CountsTest, EndWithTheWorkersErrorAndWithTheWorker) {
  connect(client);
  start_worker();
  const std::string model = hold_model(client, 1);
  send(client, 2, question(model));
  contract::Error error;
  error.code = "bad_picture";
  error.what = "picture 1 is no picture";
  from_worker(worker.last<contract::CountTokens>().request_id, error);
  EXPECT_EQ(client.error_code(2), "bad_picture");
  send(client, 3, question(model));
  broker->worker_gone("for a test");
  EXPECT_EQ(client.error_code(3), "worker_lost");
}

TEST_F(CountsTest, OfAModelThatWasGivenUpEndWithTheWorker) {
  connect(client);
  start_worker();
  const std::string model = hold_model(client, 1);
  send(client, 2, question(model));
  contract::UnloadModel unload;
  unload.model = model;
  send(client, 3, unload);
  EXPECT_EQ(client.terminals(2), 0u);
  broker->worker_gone("for a test");
  EXPECT_EQ(client.error_code(2), "worker_lost");
}

TEST_F(CountsTest, ThatNobodyWaitsForAreDropped) {
  connect(client);
  start_worker();
  const std::string model = hold_model(client, 1);
  send(client, 2, question(model));
  send(client, 2, contract::Cancel{});
  EXPECT_EQ(client.error_code(2), "cancelled");
  answer(1);  // too late
  EXPECT_EQ(client.terminals(2), 1u);
  send(client, 3, question(model));
  broker->disconnect(client.id);
  answer(1);
  EXPECT_EQ(worker.kills, 0);
}

TEST_F(CountsTest, ThatWereCancelledCountUntilTheWorkerIsDoneWithThem) {
  Config config;
  config.user.open_requests = 3;
  make_broker(config);
  client = FakeClient();
  connect(client);
  start_worker();
  const std::string model = hold_model(client, 1);
  for (std::uint32_t id = 10; id < 13; ++id) {
    send(client, id, question(model));
    send(client, id, contract::Cancel{});
    EXPECT_EQ(client.error_code(id), "cancelled");
  }
  send(client, 20, question(model));
  EXPECT_EQ(client.error_code(20), "busy");
  FakeClient same_user;
  connect(same_user);
  contract::ArenaAsk ask;
  ask.nbytes = 65536;
  send(same_user, 1, ask);
  EXPECT_EQ(same_user.error_code(1), "busy");
  const auto asked = worker.of_type(contract::CountTokens::kType);
  ASSERT_EQ(asked.size(), 3u);
  contract::TokensCounted counted;
  from_worker(asked[0].request_id, counted);
  send(client, 21, question(model));
  EXPECT_EQ(client.terminals(21), 0u);
  broker->disconnect(client.id);
  EXPECT_EQ(broker->core().accounts.held_by(1000).open_requests, 3u);
  broker->worker_gone("for a test");
  EXPECT_EQ(broker->core().accounts.held_by(1000).open_requests, 0u);
  broker->disconnect(same_user.id);
  expect_empty_ledger();
}

TEST_F(CountsTest, ThatTheWorkerHasNotHeardCostNothingOnceCancelled) {
  connect(client);
  start_worker();
  const std::string model = hold_model(client, 1);
  broker->worker_gone("for a test");
  send(client, 2, question(model));
  send(client, 2, contract::Cancel{});
  EXPECT_EQ(broker->core().accounts.held_by(1000).open_requests, 0u);
  EXPECT_TRUE(broker->core().counts.empty());
}

TEST_F(CountsTest, OfModelsOrPartsThatAreNoneAreRefused) {
  connect(client);
  start_worker();
  const std::string model = hold_model(client, 1);
  send(client, 2, question("nothing"));
  EXPECT_EQ(client.error_code(2), "unknown_model");
  contract::CountTokens message = question(model);
  message.messages[0].content[0].tensor.reset();
  send(client, 3, message);
  EXPECT_EQ(client.error_code(3), "bad_request");
  message = question(model);
  message.messages[0].content.resize(1000, message.messages[0].content[0]);
  send(client, 4, message);
  EXPECT_EQ(client.error_code(4), "bad_request");
  EXPECT_EQ(worker.count<contract::CountTokens>(), 0u);
}

TEST_F(CountsTest, AWorkerThatAnswersNonsenseIsNotTrusted) {
  connect(client);
  start_worker();
  send(client, 2, question(hold_model(client, 1)));
  from_worker(worker.last<contract::CountTokens>().request_id, contract::Generated{});
  EXPECT_EQ(worker.kills, 1);
}

}  // namespace
}  // namespace hearth::broker
