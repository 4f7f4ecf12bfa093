// Models that ended the engine too often: refused, listed, given another chance.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class QuarantineTest : public BrokerTest {
 protected:
  void SetUp() override { connect(client); }
  void offer_again(std::uint32_t request_id, const std::string& file) {
    offer_file(client, request_id, file);
    off_loop.run_all();
  }
  // A request loads the model in the new worker, runs, and the worker ends.
  void crash_with(std::uint32_t request_id, const std::string& model) {
    send(client, request_id, request_for(model));
    recognise();
    finish_load();
    ASSERT_EQ(client.terminals(request_id), 0u);
    lose_worker();
    come_back();
  }
  FakeClient client;
};

TEST_F(QuarantineTest, ModelThatEndsTheWorkerTwiceIsRefusedUntilOfferedAgain) {
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  send(client, 10, request_for(model));
  lose_worker();
  come_back();
  send(client, 11, request_for(model));
  recognise();
  finish_load();
  lose_worker();
  come_back();
  send(client, 12, request_for(model));
  const auto error = client.answer<contract::Error>(12);
  EXPECT_EQ(error.code, "quarantined");
  EXPECT_FALSE(error.retryable);
  EXPECT_NE(error.what.find("generating"), std::string::npos);
  load(client, 13, model);
  EXPECT_EQ(client.error_code(13), "quarantined");

  tick_after(Milliseconds(5000));
  offer_again(14, "a");
  recognise();
  EXPECT_EQ(client.answer<contract::ModelOffered>(14).model, model);
  send(client, 15, request_for(model));
  finish_load();
  EXPECT_EQ(client.terminals(15), 0u);
}

TEST_F(QuarantineTest, TheQuarantineIsListedAndClearedByAdministrators) {
  start_worker();
  const std::string model = hold_model(client, 1);
  crash_with(10, model);
  EXPECT_TRUE(status(client, 60).quarantined.empty());
  crash_with(11, model);
  timer.pass(std::chrono::minutes(3));
  const auto listed = status(client, 61).quarantined;
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0].model, model);
  EXPECT_EQ(listed[0].name, "a");
  EXPECT_EQ(listed[0].operation, "generate");
  EXPECT_EQ(listed[0].deaths, 2u);
  EXPECT_GT(listed[0].left_ms, 6 * 60'000u);
  EXPECT_LT(listed[0].left_ms, 7 * 60'000u);
  load(client, 12, model);
  EXPECT_EQ(client.error_code(12), "quarantined");
  FakeClient root;
  connect(root, true, 0);
  contract::ClearQuarantine clear;
  clear.model = "another";
  send(root, 1, clear);
  EXPECT_NE(root.answer<contract::Done>(1).text.find("Nothing"), std::string::npos);
  clear.model = "a";  // its name
  send(root, 2, clear);
  EXPECT_EQ(root.answer<contract::Done>(2).text, "1 model has another chance.");
  EXPECT_TRUE(status(client, 62).quarantined.empty());
  load(client, 13, model);
  EXPECT_EQ(client.terminals(13), 0u);
  lose_worker();
  come_back();
  crash_with(14, model);
  crash_with(15, model);
  send(root, 3, contract::ClearQuarantine{});
  EXPECT_EQ(root.answer<contract::Done>(3).text, "1 model has another chance.");
  timer.pass(Quarantine::kTerm);
  EXPECT_TRUE(status(client, 63).quarantined.empty());
}

TEST_F(QuarantineTest, AnAnswerInBetweenClearsTheSuspicion) {
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  for (const std::uint32_t id : {10u, 20u, 30u}) {
    send(client, id, request_for(model));
    lose_worker();
    come_back();
    send(client, id + 1, request_for(model));
    recognise();
    finish_load();
    from_worker(worker.last<contract::Generate>().request_id, generated("fine"));
    client.answer<contract::Generated>(id + 1);
  }
}

TEST_F(QuarantineTest, ManyJobsInOneDeathCountAsOne) {
  start_worker(4);
  const std::string model = hold_hot_model(client, 1);
  for (const std::uint32_t id : {10u, 11u, 12u}) send(client, id, request_for(model));
  lose_worker();
  come_back();
  send(client, 20, request_for(model));
  EXPECT_EQ(client.terminals(20), 0u);
}

TEST_F(QuarantineTest, ModelThatEndsTheWorkerWhileLoadingIsRefusedToo) {
  start_worker();
  const std::string model = hold_model(client, 1);
  for (const std::uint32_t id : {10u, 11u}) {
    load(client, id, model);
    if (id == 11u) recognise();
    lose_worker();
    come_back();
  }
  load(client, 12, model);
  EXPECT_EQ(client.error_code(12), "quarantined");
}

TEST_F(QuarantineTest, OffersBeforeEveryUseDoNotClearTheSuspicion) {
  start_worker();
  const std::string model = hold_model(client, 1);
  crash_with(10, model);
  offer_again(11, "a");
  recognise();
  EXPECT_EQ(client.answer<contract::ModelOffered>(11).model, model);
  send(client, 12, request_for(model));
  finish_load();
  lose_worker();
  come_back();
  offer_again(13, "a");  // five seconds after the last death
  const auto error = client.answer<contract::Error>(13);
  EXPECT_EQ(error.code, "quarantined");
  EXPECT_NE(error.hint.find("10 s"), std::string::npos);
}

TEST_F(QuarantineTest, OfferAfterAWhileGivesOneMoreTry) {
  start_worker();
  const std::string model = hold_model(client, 1);
  crash_with(10, model);
  crash_with(11, model);
  tick_after(Milliseconds(5000));
  offer_again(12, "a");
  recognise();
  client.answer<contract::ModelOffered>(12);
  send(client, 13, request_for(model));
  finish_load();
  lose_worker();
  come_back();
  send(client, 14, request_for(model));
  EXPECT_EQ(client.error_code(14), "quarantined");
}

TEST_F(QuarantineTest, ModelThatDiesWhileExaminedIsRefusedAtItsThirdOffer) {
  start_worker();
  offer(client, 1);
  off_loop.run_all();
  for (const std::uint32_t id : {2u, 3u}) {
    lose_worker();
    come_back();
    offer_again(id, "a");
  }
  EXPECT_EQ(worker.count<contract::AttachModel>(), 2u);
  EXPECT_EQ(client.error_code(3), "quarantined");
  EXPECT_EQ(broker->core().models.open_files(), 0u);
}

TEST_F(QuarantineTest, TwoDeathsBesideACrashingModelDoNotBanAnother) {
  start_worker();
  const std::string good = hold_model(client, 1, "good");
  const std::string bad = hold_model(client, 2, "bad");
  for (const std::uint32_t id : {10u, 20u}) {
    for (const std::string& model : {good, bad}) {
      send(client, id + (model == bad ? 1 : 0), request_for(model));
      recognise();
      finish_load();
    }
    ASSERT_EQ(broker->core().running, 2u);
    lose_worker();
    come_back();
  }
  send(client, 30, request_for(good));
  EXPECT_EQ(client.terminals(30), 0u);
  recognise();
  finish_load();
  from_worker(worker.last<contract::Generate>().request_id, generated("fine"));
  crash_with(31, bad);
  send(client, 32, request_for(bad));
  EXPECT_EQ(client.error_code(32), "quarantined");
}

}  // namespace
}  // namespace hearth::broker
