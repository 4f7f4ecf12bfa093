// What an upgrade makes of models that are published and pinned, when the next program publishes
// something else.
#include "daemon/broker/handover/format.h"
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

// A service that publishes what lies in a folder. Two such models do not fit its device.
class HandoverPublishedTest : public BrokerTest {
 protected:
  HandoverPublishedTest() { plan.weights_bytes = 1'000; }
  static Config with_pinned(std::vector<std::string> names) {
    Config config;
    config.memory_bytes = 1'500;
    config.pinned_models = std::move(names);
    return config;
  }
  void write(const std::string& weights) {
    folder.write("config.json", "{}");
    folder.write("model.safetensors", weights);
  }
  void publish() { ASSERT_TRUE(broker->publish({"big", folder.path()})); }
  void load_it(FakeClient& client) {
    connect(client);
    load(client, 1, "big");
    finish_load();
    model = list_models(client, 2).models.at(0).model;
  }
  // The model is on the device, and a client holds it.
  void begin() {
    make_broker(with_pinned({"big"}));
    write("weights");
    publish();
    start_worker();
    recognise();
    load_it(client);
  }
  // Another broker goes on, up to where it publishes.
  void hand_over(const Config& config) {
    handover::Saver saver;
    broker->save(saver);
    const std::unique_ptr<Broker> before = std::move(broker);
    make_broker(config);
    handover::Loader loader(saver.bytes(), handover::kFormat, saver.descriptors());
    loader.adopt_with([](Fd fd) { return std::make_shared<const Fd>(Fd(::dup(fd.release()))); });
    ASSERT_TRUE(broker->restore(loader));
    if (broker->core().clients.contains(client.id)) broker->attach(client.id, client);
  }
  Model* find(const std::string& id) { return const_cast<Core&>(broker->core()).models.find(id); }
  // It is asked to leave, and leaves.
  void expect_to_leave() {
    const OutFrame asked = worker.last<contract::UnloadModel>();
    EXPECT_EQ(contract::unpack<contract::UnloadModel>(bytes_of(asked.body))->model, model);
    finish_unload();
    EXPECT_EQ(find(model), nullptr);
  }

  FakeClient client, next_client;
  std::string model;  // its id
};

TEST_F(HandoverPublishedTest, APinnedOneStaysPinnedAndOnTheDevice) {
  begin();
  broker->disconnect(client.id);
  hand_over(with_pinned({"big"}));
  publish();
  broker->resume();
  EXPECT_EQ(worker.count<contract::UnloadModel>(), 0u);
  EXPECT_TRUE(find(model)->pinned);
}

TEST_F(HandoverPublishedTest, APinnedOneWhoseFilesWereReplacedLeavesForTheNewOne) {
  begin();
  broker->disconnect(client.id);
  const std::string former = model;
  hand_over(with_pinned({"big"}));
  write("other weights");
  publish();
  broker->resume();
  recognise();
  expect_to_leave();
  load_it(next_client);
  EXPECT_NE(model, former);
  EXPECT_EQ(find(model)->stage, Stage::kHot);
  EXPECT_TRUE(find(model)->pinned);
}

TEST_F(HandoverPublishedTest, APinnedOneThatIsNotConfiguredAnyMoreLeaves) {
  begin();
  broker->disconnect(client.id);
  hand_over(with_pinned({}));
  broker->resume();
  expect_to_leave();
}

TEST_F(HandoverPublishedTest, WhoHoldsOneThatIsNotConfiguredAnyMoreKeepsItButThePinIsGone) {
  begin();
  hand_over(with_pinned({}));
  broker->resume();
  EXPECT_EQ(worker.count<contract::UnloadModel>(), 0u);
  EXPECT_FALSE(find(model)->pinned);
  unload(client, 3, model);
  expect_to_leave();
}

}  // namespace
}  // namespace hearth::broker
