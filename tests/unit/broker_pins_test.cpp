// Models that stay, models that are sent away, models that leave for being idle.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

constexpr std::uint64_t kGiB = 1ull << 30;

// A device of 10 GiB, 8 GiB of pinned memory; every model takes 6.
class PinsTest : public BrokerTest {
 protected:
  PinsTest() { begin({}); }
  void begin(Config config) {
    config.memory_bytes = 10 * kGiB;
    config.warm_memory_bytes = 8 * kGiB;
    make_broker(config);
    plan.weights_bytes = 6 * kGiB;
    plan.image_bytes = 6 * kGiB;
    client = FakeClient();
    root = FakeClient();
    start_worker();
    connect(client);
    connect(root, true, 0);
  }
  std::uint32_t pin(const std::string& model, bool is_pinned = true) {
    contract::PinModel message;
    message.model = model;
    message.pin = is_pinned;
    send(root, ++last_id, message);
    return last_id;
  }
  std::uint32_t evict(FakeClient& asker, const std::string& model, const std::string& to = "cold") {
    contract::EvictModel message;
    message.model = model;
    message.to = to;
    send(asker, ++last_id, message);
    return last_id;
  }
  std::uint32_t load(const std::string& model) {
    contract::LoadModel message;
    message.model = model;
    send(client, ++last_id, message);
    return last_id;
  }
  void finish_rest() {
    from_worker(worker.last<contract::RestModel>().request_id,
                contract::ModelUnloaded{false, 6 * kGiB});
  }
  contract::ModelEntry entry(const std::string& model) {
    for (const auto& each : status(root, ++last_id).models)
      if (each.model == model) return each;
    ADD_FAILURE() << model << " is not known";
    return {};
  }
  FakeClient client, root;
  std::uint32_t last_id = 1000;
};

TEST_F(PinsTest, APinnedModelDoesNotLeaveForAnother) {
  const std::string a = hold_hot_model(client, 1, "a");
  root.answer<contract::Done>(pin(a));
  EXPECT_TRUE(entry(a).pinned);
  const std::string b = hold_model(client, 5, "b");
  contract::PlanLoad ask;
  ask.model = b;
  send(client, 7, ask);
  const auto planned = client.answer<contract::LoadPlan>(7);
  EXPECT_FALSE(planned.fits);
  EXPECT_EQ(planned.at_work, std::vector<std::string>{"a"});
  const auto refused = client.answer<contract::Error>(load(b));
  EXPECT_EQ(refused.code, "out_of_memory");
  EXPECT_NE(refused.what.find("Pinned: a"), std::string::npos) << refused.what;
  EXPECT_NE(refused.hint.find("unpin"), std::string::npos);
  EXPECT_EQ(entry(a).state, "hot");
  root.answer<contract::Done>(pin(a, false));
  load(b);
  EXPECT_EQ(worker.count<contract::RestModel>(), 1u);
}

TEST_F(PinsTest, FreeingMemoryLeavesPinnedModelsAlone) {
  const std::string a = hold_hot_model(client, 1, "a");
  pin(a);
  send(client, 5, contract::FreeMemory{});
  EXPECT_EQ(client.answer<contract::MemoryFreed>(5).freed_bytes, 0u);
  EXPECT_EQ(entry(a).state, "hot");
}

TEST_F(PinsTest, APinnedModelStaysWhenItsLastHolderGivesItUpAndLeavesWhenUnpinned) {
  const std::string a = hold_hot_model(client, 1, "a");
  pin(a);
  contract::UnloadModel unload;
  unload.model = a;
  send(client, 5, unload);
  EXPECT_TRUE(client.answer<contract::ModelUnloaded>(5).resident);
  EXPECT_EQ(worker.count<contract::UnloadModel>(), 0u);
  EXPECT_EQ(entry(a).state, "hot");
  root.answer<contract::Done>(pin("a", false));
  EXPECT_EQ(worker.count<contract::UnloadModel>(), 1u);
}

TEST_F(PinsTest, PinningAColdModelLoadsNothing) {
  const std::string a = hold_model(client, 1, "a");
  const auto done = root.answer<contract::Done>(pin("a"));
  EXPECT_NE(done.text.find("not loaded"), std::string::npos) << done.text;
  EXPECT_EQ(worker.count<contract::LoadModel>(), 0u);
  EXPECT_TRUE(entry(a).pinned);
  EXPECT_EQ(root.error_code(pin("nothing")), "unknown_model");
}

TEST_F(PinsTest, TheSettingsPinPublishedModels) {
  Config config;
  config.pinned_models = {"published"};
  begin(config);
  folder.write("model.safetensors", "weights");
  ASSERT_TRUE(broker->publish({"published", folder.path()}));
  ASSERT_TRUE(broker->core().clients.contains(root.id));
  const auto report = status(root, ++last_id);
  ASSERT_EQ(report.models.size(), 1u);
  EXPECT_TRUE(report.models[0].pinned);
}

TEST_F(PinsTest, ANameOfTwoModelsIsNotGuessed) {
  hold_model(client, 1, "a");
  contract::OfferModel message;
  message.name = "a";
  message.labels = {"model.safetensors"};
  message.dtype = "int8";
  std::vector<Fd> fds;
  fds.push_back(folder.open("a"));
  send(client, 2, message, std::move(fds));
  recognise();
  const auto error = root.answer<contract::Error>(pin("a"));
  EXPECT_EQ(error.code, "bad_request");
  EXPECT_NE(error.what.find("int8"), std::string::npos) << error.what;
}

TEST_F(PinsTest, AModelIsEvictedToPinnedMemoryOrToNothing) {
  const std::string a = hold_hot_model(client, 1, "a");
  auto id = evict(client, "a", "warm");
  EXPECT_EQ(worker.count<contract::RestModel>(), 1u);
  EXPECT_EQ(client.terminals(id), 0u);
  finish_rest();
  EXPECT_EQ(client.answer<contract::MemoryFreed>(id).freed_bytes, 6 * kGiB);
  EXPECT_EQ(entry(a).state, "warm");
  id = evict(client, a, "warm");  // it is
  EXPECT_EQ(client.answer<contract::MemoryFreed>(id).freed_bytes, 0u);
  EXPECT_EQ(entry(a).state, "warm");
  id = evict(client, a, "cold");
  EXPECT_EQ(client.answer<contract::MemoryFreed>(id).models, std::vector<std::string>{"a"});
  EXPECT_EQ(entry(a).state, "cold");
  EXPECT_EQ(worker.count<contract::ForgetImage>(), 1u);
  load(a);
  finish_load();
  id = evict(client, a);
  finish_unload();
  EXPECT_EQ(client.answer<contract::MemoryFreed>(id).models, std::vector<std::string>{"a"});
  EXPECT_EQ(entry(a).holders, 1u);
  id = evict(client, a);
  EXPECT_EQ(client.answer<contract::MemoryFreed>(id).freed_bytes, 0u);
}

TEST_F(PinsTest, AModelAtWorkOrOnItsWayIsBusy) {
  const std::string a = hold_hot_model(client, 1, "a");
  send(client, 10, request_for(a));
  const auto error = root.answer<contract::Error>(evict(root, a));
  EXPECT_EQ(error.code, "busy");
  EXPECT_NE(error.what.find("open requests: 1"), std::string::npos) << error.what;
  from_worker(worker.last<contract::Generate>().request_id, generated("done"));
  evict(root, a);
  EXPECT_EQ(root.error_code(evict(root, a)), "busy");
  finish_unload();
  load(a);
  EXPECT_EQ(root.error_code(evict(root, a)), "busy");
}

TEST_F(PinsTest, OthersModelsAndPinnedOnesAreEvictedByAdministratorsOnly) {
  const std::string a = hold_hot_model(client, 1, "a");
  FakeClient stranger, same_user;
  connect(stranger, true, 1001);
  connect(same_user);
  EXPECT_EQ(stranger.error_code(evict(stranger, a)), "denied");
  EXPECT_EQ(stranger.error_code(evict(stranger, "nothing")), "unknown_model");
  pin(a);
  EXPECT_EQ(same_user.error_code(evict(same_user, a)), "denied");
  const auto id = evict(root, a);
  finish_unload();
  EXPECT_EQ(root.answer<contract::MemoryFreed>(id).freed_bytes, 6 * kGiB);
  EXPECT_TRUE(entry(a).pinned);
  pin(a, false);
  load(a);
  finish_load();
  evict(same_user, "a");
  EXPECT_EQ(worker.count<contract::UnloadModel>(), 2u);
}

TEST_F(PinsTest, WhoWaitsForAnEvictionHearsOfTheWorkersEnd) {
  const std::string a = hold_hot_model(client, 1, "a");
  const auto id = evict(client, a);
  broker->worker_gone("for a test");
  EXPECT_EQ(client.answer<contract::MemoryFreed>(id).freed_bytes, 6 * kGiB);
}

class KeepAliveTest : public PinsTest {
 protected:
  KeepAliveTest() {
    Config config;
    config.keep_alive = Milliseconds(60'000);
    begin(config);
  }
};

TEST_F(KeepAliveTest, AnIdleModelLeavesAfterAWhileAndRests) {
  const std::string a = hold_hot_model(client, 1, "a");
  EXPECT_TRUE(timer.will_wake_by(timer.now() + Milliseconds(60'000)));
  tick_after(Milliseconds(45'000));
  EXPECT_EQ(entry(a).idle_ms, 45'000u);
  EXPECT_EQ(entry(a).leaves_in_ms, 15'000u);
  send(client, 10, request_for(a));
  EXPECT_EQ(entry(a).idle_ms, 0u);
  EXPECT_EQ(entry(a).leaves_in_ms, std::nullopt);
  tick_after(Milliseconds(100'000));
  EXPECT_EQ(entry(a).state, "hot");
  from_worker(worker.last<contract::Generate>().request_id, generated("done"));
  EXPECT_TRUE(timer.will_wake_by(timer.now() + Milliseconds(60'000)));
  tick_after(Milliseconds(59'999));
  EXPECT_EQ(worker.count<contract::RestModel>(), 0u);
  tick_after(Milliseconds(1));
  EXPECT_EQ(worker.count<contract::RestModel>(), 1u);
  finish_rest();
  EXPECT_EQ(entry(a).state, "warm");
  EXPECT_EQ(entry(a).holders, 1u);
}

TEST_F(KeepAliveTest, APinnedModelStaysHoweverLongItIsIdle) {
  const std::string a = hold_hot_model(client, 1, "a");
  pin(a);
  tick_after(std::chrono::hours(10));
  EXPECT_EQ(entry(a).state, "hot");
  EXPECT_EQ(entry(a).leaves_in_ms, std::nullopt);
  EXPECT_EQ(entry(a).idle_ms, 36'000'000u);
  pin(a, false);
  EXPECT_EQ(worker.count<contract::RestModel>(), 1u);
}

TEST_F(PinsTest, WithoutASettingNobodyLeavesForBeingIdle) {
  const std::string a = hold_hot_model(client, 1, "a");
  tick_after(std::chrono::hours(10));
  EXPECT_EQ(entry(a).state, "hot");
  EXPECT_EQ(entry(a).leaves_in_ms, std::nullopt);
}

}  // namespace
}  // namespace hearth::broker
