// Models that rest in pinned memory: who may, whose image gives way, and what the ledger knows.

#include "daemon/broker/memory_cost.h"
#include "daemon/broker/room.h"
#include "daemon/broker/warm.h"
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::uint64_t kGiB = 1ull << 30;

TEST(CostOfLeaving, AModelThatRestsCostsAFraction) {
  const IdleModel read{kGiB, kGiB, std::chrono::seconds(60), false};
  IdleModel copied = read;
  copied.rests = true;
  EXPECT_LT(cost_of_leaving(copied), cost_of_leaving(read) / 4);
  EXPECT_GT(cost_of_leaving(copied), 0.0);
  // So it leaves before one that is a little smaller and would be read again.
  const IdleModel smaller{kGiB, kGiB / 2, std::chrono::seconds(60), false};
  EXPECT_EQ(choose_leaving(std::vector{smaller, copied}, kGiB), std::vector<std::size_t>{1});
}

// A device of 10 GiB, 8 GiB of pinned memory; models of as many GiB as a test says.
class WarmTest : public BrokerTest {
 protected:
  explicit WarmTest(std::uint64_t warm_gib = 8) {
    Config config;
    config.memory_bytes = 10 * kGiB;
    config.warm_memory_bytes = warm_gib * kGiB;
    make_broker(config);
    start_worker(4);
    connect(client);
  }
  std::string offered(const std::string& name, std::uint64_t gib) {
    plan.weights_bytes = gib * kGiB - kMiB;
    plan.cache_bytes = kMiB;
    plan.image_bytes = gib * kGiB;
    return hold_model(client, next_id++, name);
  }
  std::uint32_t load(const std::string& model) {
    contract::LoadModel message;
    message.model = model;
    send(client, next_id, message);
    return next_id++;
  }
  std::string hot(const std::string& name, std::uint64_t gib) {
    const std::string model = offered(name, gib);
    load(model);
    finish_load();
    timer.pass(std::chrono::minutes(10));
    return model;
  }
  std::uint32_t free(std::uint64_t nbytes) {
    contract::FreeMemory message;
    message.nbytes = nbytes;
    send(client, next_id, message);
    return next_id++;
  }
  // The worker has done what it was last told.
  void rested(std::uint64_t image_bytes) {
    from_worker(worker.last<contract::RestModel>().request_id,
                contract::ModelUnloaded{false, image_bytes});
  }
  static contract::Error refusal(const std::string& code) {
    contract::Error error;
    error.code = code;
    return error;
  }
  void restored() {
    contract::ModelLoaded reply;
    const OutFrame asked = worker.last<contract::LoadModel>();
    reply.model = contract::unpack<contract::LoadModel>(bytes_of(asked.body))->model;
    reply.resident_bytes = 1000;
    reply.warm = true;
    from_worker(asked.request_id, reply);
  }
  // `name` is hot, leaves and rests.
  std::string resting(const std::string& name, std::uint64_t gib) {
    const std::string model = hot(name, gib);
    free(0);
    rested(gib * kGiB);
    return model;
  }
  template <class Message>
  std::vector<std::string> told() const {
    std::vector<std::string> models;
    for (const OutFrame& frame : worker.of_type(Message::kType))
      models.push_back(contract::unpack<Message>(bytes_of(frame.body))->model);
    return models;
  }
  contract::StatusReport report() { return status(client, next_id++); }
  contract::ModelEntry entry(const std::string& model) {
    for (const contract::ModelEntry& each : report().models)
      if (each.model == model) return each;
    ADD_FAILURE() << model << " is not known";
    return {};
  }
  contract::LoadPlan planned(const std::string& model) {
    contract::PlanLoad message;
    message.model = model;
    send(client, next_id, message);
    return client.answer<contract::LoadPlan>(next_id++);
  }

  FakeClient client;
  std::uint32_t next_id = 1;
};

using Names = std::vector<std::string>;

TEST_F(WarmTest, WhatLeavesForAnotherRestsAndIsShownAsWarm) {
  const std::string a = hot("a", 6);
  const std::string b = offered("b", 6);
  load(b);
  EXPECT_EQ(told<contract::RestModel>(), Names{a});
  EXPECT_EQ(told<contract::UnloadModel>(), Names{});
  EXPECT_EQ(report().warm_bytes, 6 * kGiB);  // from now on
  EXPECT_EQ(report().memory_bytes, 6 * kGiB);
  rested(6 * kGiB);
  EXPECT_EQ(entry(a).state, "warm");
  EXPECT_EQ(entry(a).image_bytes, 6 * kGiB);
  EXPECT_EQ(entry(a).resident_bytes, 0U);
  EXPECT_EQ(report().warm_bytes, 6 * kGiB);
  EXPECT_EQ(report().warm_budget_bytes, 8 * kGiB);
  finish_load();
  EXPECT_EQ(entry(b).state, "hot");
}

TEST_F(WarmTest, ARequestBringsItBackAndItsReceiptSaysSo) {
  const std::string a = resting("a", 6);
  EXPECT_TRUE(planned(a).is_warm);
  EXPECT_FALSE(planned(a).is_hot);
  send(client, next_id, request_for(a));
  timer.pass(Milliseconds(80));
  restored();
  from_worker(worker.last<contract::Generate>().request_id, generated("back"));
  const auto reply = client.answer<contract::Generated>(next_id++);
  EXPECT_EQ(reply.receipt.load_ms, 80.0);
  EXPECT_TRUE(reply.receipt.warm_load);
  EXPECT_EQ(entry(a).state, "hot");
  EXPECT_EQ(report().warm_bytes, 6 * kGiB);  // the image stays for the next time
}

TEST_F(WarmTest, ALoadThatWasAskedForSaysThatItWasWarm) {
  const std::string a = resting("a", 6);
  const std::uint32_t id = load(a);
  timer.pass(Milliseconds(50));
  restored();
  const auto reply = client.answer<contract::ModelLoaded>(id);
  EXPECT_TRUE(reply.warm);
  EXPECT_EQ(reply.load_ms, 50.0);
  const std::uint32_t again = load(a);
  EXPECT_FALSE(client.answer<contract::ModelLoaded>(again).warm);
}

TEST_F(WarmTest, ASecondRestTakesNoMorePinnedMemory) {
  const std::string a = resting("a", 6);
  load(a);
  restored();
  free(0);
  EXPECT_EQ(told<contract::RestModel>(), (Names{a, a}));
  EXPECT_EQ(report().warm_bytes, 6 * kGiB);
}

TEST_F(WarmTest, WhatIsTooLargeForAllPinnedMemoryIsDropped) {
  const std::string a = hot("a", 9);
  free(0);
  EXPECT_EQ(told<contract::UnloadModel>(), Names{a});
  EXPECT_EQ(told<contract::RestModel>(), Names{});
  finish_unload();
  EXPECT_EQ(entry(a).state, "cold");
  EXPECT_EQ(report().warm_bytes, 0U);
}

TEST_F(WarmTest, WhatTheEngineCouldNotLetRestIsCold) {
  const std::string a = hot("a", 6);
  const std::uint32_t id = free(0);
  rested(0);
  EXPECT_EQ(entry(a).state, "cold");
  EXPECT_EQ(report().warm_bytes, 0U);
  EXPECT_EQ(client.answer<contract::MemoryFreed>(id).freed_bytes, 6 * kGiB);
}

TEST_F(WarmTest, AnImageThatIsWorthLessGivesWay) {
  const std::string a = resting("a", 4);
  const std::string b = resting("b", 3);
  timer.pass(std::chrono::hours(2));
  const std::string c = hot("c", 5);
  free(0);
  EXPECT_EQ(told<contract::ForgetImage>(), Names{a});
  EXPECT_EQ(told<contract::RestModel>().back(), c);
  EXPECT_EQ(entry(a).state, "cold");
  EXPECT_EQ(entry(b).state, "warm");
  EXPECT_EQ(report().warm_bytes, 8 * kGiB);
}

TEST_F(WarmTest, AnImageThatIsWorthMoreStays) {
  const std::string small = hot("small", 1);
  timer.pass(std::chrono::hours(5));
  const std::string a = resting("a", 8);  // takes all of it; the small one was told to leave, too
  EXPECT_EQ(told<contract::ForgetImage>(), Names{});
  EXPECT_EQ(told<contract::UnloadModel>(), Names{small});
  EXPECT_EQ(report().warm_bytes, 8 * kGiB);
}

TEST_F(WarmTest, TheImageOfAHotModelGivesWayFirst) {
  const std::string a = resting("a", 4);
  const std::string b = resting("b", 4);
  load(a);
  restored();
  timer.pass(std::chrono::hours(1));
  const std::string c = hot("c", 4);
  contract::FreeMemory message;
  message.nbytes = 4 * kGiB;
  send(client, next_id, request_for(a));  // at work: c is all that may leave
  send(client, ++next_id, message);
  ++next_id;
  EXPECT_EQ(told<contract::ForgetImage>(), Names{a});
  EXPECT_EQ(told<contract::RestModel>().back(), c);
  EXPECT_EQ(entry(a).state, "hot");
  EXPECT_EQ(entry(a).image_bytes, 0U);
  EXPECT_EQ(entry(b).state, "warm");
}

TEST_F(WarmTest, AModelThatWaitsForRoomKeepsItsImage) {
  const std::string a = resting("a", 8);
  const std::string b = hot("b", 8);
  timer.pass(std::chrono::hours(1));
  load(a);  // b has to leave and would want the room of a's image
  EXPECT_EQ(told<contract::ForgetImage>(), Names{});
  EXPECT_EQ(told<contract::UnloadModel>(), Names{b});
  finish_unload();
  restored();
  EXPECT_EQ(entry(a).state, "hot");
}

TEST_F(WarmTest, WithoutRoomOnTheDeviceOthersLeaveAndItIsAskedAgain) {
  const std::string a = resting("a", 4);
  const std::string b = hot("b", 4);
  load(a);
  from_worker(worker.last<contract::LoadModel>().request_id, refusal("out_of_memory"));
  EXPECT_EQ(entry(a).state, "warm");
  EXPECT_EQ(told<contract::RestModel>().back(), b);
  rested(4 * kGiB);
  restored();
  EXPECT_EQ(entry(a).state, "hot");
}

TEST_F(WarmTest, WhatWasSpoiltOnTheWayBackIsCold) {
  const std::string a = resting("a", 4);
  const std::uint32_t id = load(a);
  from_worker(worker.last<contract::LoadModel>().request_id, refusal("internal"));
  EXPECT_EQ(client.answer<contract::Error>(id).code, "internal");
  EXPECT_EQ(entry(a).state, "cold");
  EXPECT_EQ(report().warm_bytes, 0U);
}

TEST_F(WarmTest, WhoeverCancelsALoadFindsItWarm) {
  const std::string a = resting("a", 4);
  const std::uint32_t id = load(a);
  send(client, id, contract::Cancel{});
  from_worker(worker.last<contract::LoadModel>().request_id, refusal("cancelled"));
  EXPECT_EQ(entry(a).state, "warm");
  load(a);
  restored();
  EXPECT_EQ(entry(a).state, "hot");
}

TEST_F(WarmTest, WithTheWorkerAllImagesAreLost) {
  const std::string a = resting("a", 4);
  broker->worker_gone("it was ended by Killed");
  EXPECT_EQ(report().warm_bytes, 0U);
  EXPECT_EQ(entry(a).state, "cold");
}

TEST_F(WarmTest, WhoGivesARestingModelUpGivesItsImageUp) {
  const std::string a = resting("a", 4);
  contract::UnloadModel message;
  message.model = a;
  send(client, next_id, message);
  EXPECT_FALSE(client.answer<contract::ModelUnloaded>(next_id++).resident);
  EXPECT_EQ(told<contract::ForgetImage>(), Names{a});
  EXPECT_EQ(told<contract::DetachModel>(), Names{a});
  EXPECT_EQ(report().warm_bytes, 0U);
}

TEST_F(WarmTest, ARestingModelWaitsForHoldersThatOnlyDisconnected) {
  FakeClient other;
  connect(other, true, 1001);
  const std::string a = hold_model(other, 1, "a");
  broker->disconnect(other.id);
  EXPECT_EQ(told<contract::DetachModel>(), Names{a});  // never loaded: nothing to wait for
  const std::string b = resting("b", 4);
  broker->disconnect(client.id);
  EXPECT_EQ(told<contract::ForgetImage>(), Names{});
  FakeClient later;
  connect(later);
  EXPECT_EQ(status(later, 1).warm_bytes, 4 * kGiB);
}

class NoWarmTest : public WarmTest {
 protected:
  NoWarmTest() : WarmTest(0) {}
};

TEST_F(NoWarmTest, WithoutPinnedMemoryNothingRests) {
  const std::string a = hot("a", 1);
  free(0);
  EXPECT_EQ(told<contract::UnloadModel>(), Names{a});
}

}  // namespace
}  // namespace hearth::broker
