// Device memory: who fits, who leaves for whom, what is refused and how it is said.
#include <algorithm>
#include <limits>
#include <random>

#include "daemon/broker/memory_cost.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/room.h"
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::uint64_t kGiB = 1ull << 30;

IdleModel idle_model(std::uint64_t bytes, int idle_s = 3600) {
  return {bytes, bytes, std::chrono::seconds(idle_s)};
}

using Chosen = std::vector<std::size_t>;

TEST(ChooseLeaving, NobodyLeavesForNothing) {
  const std::vector<IdleModel> idle = {idle_model(kGiB)};
  EXPECT_EQ(choose_leaving(idle, 0), Chosen{});
  EXPECT_EQ(choose_leaving({}, 0), Chosen{});
}

TEST(ChooseLeaving, AllTogetherMayNotBeEnough) {
  const std::vector<IdleModel> idle = {idle_model(kGiB), idle_model(kGiB)};
  EXPECT_EQ(choose_leaving(idle, 2 * kGiB + 1), std::nullopt);
  EXPECT_EQ(choose_leaving(idle, 2 * kGiB), (Chosen{0, 1}));
  EXPECT_EQ(choose_leaving({}, 1), std::nullopt);
}

TEST(ChooseLeaving, OneThatIsJustLargeEnoughLeavesRatherThanSeveralOrALargerOne) {
  const std::vector<IdleModel> idle = {idle_model(20 * kGiB), idle_model(4 * kGiB),
                                       idle_model(2 * kGiB), idle_model(2 * kGiB)};
  EXPECT_EQ(choose_leaving(idle, 4 * kGiB), Chosen{1});
  EXPECT_EQ(choose_leaving(idle, 5 * kGiB), (Chosen{1, 2}));
}

TEST(ChooseLeaving, OfEqualModelsTheLongestUnusedLeaves) {
  const std::vector<IdleModel> idle = {idle_model(kGiB, 100), idle_model(kGiB, 5000),
                                       idle_model(kGiB, 900)};
  EXPECT_EQ(choose_leaving(idle, kGiB), Chosen{1});
}

TEST(ChooseLeaving, ALargeModelUnusedForLongLeavesBeforeASmallOneInUse) {
  const std::vector<IdleModel> idle = {idle_model(2 * kGiB, 5), idle_model(8 * kGiB, 7200)};
  EXPECT_EQ(choose_leaving(idle, kGiB), Chosen{1});
}

TEST(ChooseLeaving, WhatIsReadAgainCountsNotWhatIsFreed) {
  std::vector<IdleModel> idle = {idle_model(4 * kGiB), idle_model(4 * kGiB)};
  idle[1].reload_bytes = kGiB;  // most of it is caches
  EXPECT_EQ(choose_leaving(idle, kGiB), Chosen{1});
}

TEST(ChooseLeaving, OfManyModelsEnoughLeaveAndNotAll) {
  std::vector<IdleModel> idle;
  for (int i = 0; i < 40; ++i) idle.push_back(idle_model(kGiB, 1000 + i));
  const auto chosen = choose_leaving(idle, 15 * kGiB);
  ASSERT_TRUE(chosen);
  EXPECT_EQ(chosen->size(), 15u);
  EXPECT_EQ(choose_leaving(idle, 40 * kGiB)->size(), 40u);
}

TEST(ChooseLeaving, NoOtherSetOfUpToTwelveIsCheaper) {
  const unsigned seed = 20240917;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    std::vector<IdleModel> idle;
    std::uint64_t all = 0;
    for (unsigned i = 0; i < 1 + random() % 8; ++i) {
      idle.push_back(idle_model((1 + random() % 64) * 256 * kMiB, int(random() % 7200)));
      all += idle.back().bytes;
    }
    const std::uint64_t needed = 1 + random() % all;
    const auto sum = [&](unsigned members) {
      std::pair<double, std::uint64_t> total{0.0, 0};
      for (std::size_t i = 0; i < idle.size(); ++i) {
        if ((members >> i & 1) == 0) continue;
        total.first += cost_of_leaving(idle[i]);
        total.second += idle[i].bytes;
      }
      return total;
    };
    double least = std::numeric_limits<double>::max();
    for (unsigned members = 0; members < 1u << idle.size(); ++members)
      if (sum(members).second >= needed) least = std::min(least, sum(members).first);
    const auto chosen = choose_leaving(idle, needed);
    ASSERT_TRUE(chosen);
    unsigned members = 0;
    for (const std::size_t i : *chosen) members |= 1u << i;
    EXPECT_GE(sum(members).second, needed);
    EXPECT_NEAR(sum(members).first, least, 1e-6 * least);
  }
}

// A budget of 10 GiB; models of as many GiB as a test says.
class MemoryTest : public BrokerTest {
 protected:
  MemoryTest() {
    Config config;
    config.memory_bytes = 10 * kGiB;
    make_broker(config);
    start_worker(4);
    connect(client);
    connect(other, true, 1001);
  }
  std::string offered(FakeClient& who, const std::string& name, std::uint64_t gib) {
    plan.weights_bytes = gib * kGiB - 2 * kMiB;
    plan.cache_bytes = kMiB;
    plan.scratch_bytes = kMiB;
    return hold_model(who, next_id++, name);
  }
  std::uint32_t load(FakeClient& who, const std::string& model) {
    contract::LoadModel message;
    message.model = model;
    send(who, next_id, message);
    return next_id++;
  }
  std::string hot(FakeClient& who, const std::string& name, std::uint64_t gib) {
    const std::string model = offered(who, name, gib);
    load(who, model);
    finish_load();
    timer.pass(std::chrono::minutes(10));
    return model;
  }
  std::uint32_t generate(FakeClient& who, const std::string& model) {
    send(who, next_id, request_for(model));
    return next_id++;
  }
  std::uint32_t free(FakeClient& who, std::uint64_t nbytes) {
    contract::FreeMemory message;
    message.nbytes = nbytes;
    send(who, next_id, message);
    return next_id++;
  }
  contract::LoadPlan planned(FakeClient& who, const std::string& model) {
    contract::PlanLoad message;
    message.model = model;
    send(who, next_id, message);
    return who.answer<contract::LoadPlan>(next_id++);
  }
  std::vector<std::string> told_to_leave() const {
    std::vector<std::string> models;
    for (const OutFrame& frame : worker.of_type(contract::UnloadModel::kType))
      models.push_back(contract::unpack<contract::UnloadModel>(bytes_of(frame.body))->model);
    return models;
  }
  std::uint64_t taken() { return status(client, next_id++).memory_bytes; }

  FakeClient client;
  FakeClient other;
  std::uint32_t next_id = 1;
};

using Names = std::vector<std::string>;

TEST_F(MemoryTest, AnOfferSaysWhatItsModelTakes) {
  offered(client, "a", 4);
  EXPECT_EQ(client.answer<contract::ModelOffered>(1).memory, plan);
}

TEST_F(MemoryTest, WhatFitsIsLoadedAndNobodyLeaves) {
  hot(client, "a", 4);
  hot(client, "b", 6);
  EXPECT_TRUE(told_to_leave().empty());
  EXPECT_EQ(taken(), 10 * kGiB);
  EXPECT_EQ(status(client, next_id++).memory_budget_bytes, 10 * kGiB);
}

TEST_F(MemoryTest, AnIdleModelLeavesBeforeTheLoadAlsoWhenItIsHeld) {
  const std::string a = hot(other, "a", 6);
  const std::string b = offered(client, "b", 6);
  const std::size_t loads = worker.count<contract::LoadModel>();
  const std::uint32_t id = load(client, b);
  EXPECT_EQ(told_to_leave(), Names{a});
  EXPECT_EQ(worker.count<contract::LoadModel>(), loads);  // not before there is room
  finish_unload();
  finish_load();
  client.answer<contract::ModelLoaded>(id);
  EXPECT_EQ(taken(), 6 * kGiB);
}

TEST_F(MemoryTest, AHeldModelThatLeftIsLoadedAgainByItsNextRequest) {
  const std::string a = hot(other, "a", 6);
  const std::string b = hot(client, "b", 4);
  const std::uint32_t freed = free(client, 0);
  for (const OutFrame& frame : worker.of_type(contract::UnloadModel::kType))
    from_worker(frame.request_id, contract::ModelUnloaded{});
  EXPECT_EQ(client.answer<contract::MemoryFreed>(freed).models.size(), 2u);
  const std::uint32_t id = generate(other, a);
  timer.pass(Milliseconds(700));
  finish_load();
  from_worker(worker.last<contract::Generate>().request_id, generated("back"));
  const auto reply = other.answer<contract::Generated>(id);
  EXPECT_EQ(reply.receipt.load_ms, 700.0);
  EXPECT_EQ(reply.receipt.model_loads, 2u);
}

TEST_F(MemoryTest, TheCheapestSetLeavesAndNoMore) {
  const std::string old = hot(client, "old", 5);
  const std::string small = hot(client, "small", 2);
  const std::string recent = hot(client, "recent", 3);
  load(client, offered(client, "new", 2));
  EXPECT_EQ(told_to_leave(), Names{small});
}

TEST_F(MemoryTest, AModelAtWorkStaysAndTheErrorNamesItTheNumbersAndItsHolder) {
  const std::string a = hot(other, "busy-one", 7);
  generate(other, a);
  const std::uint32_t id = load(client, offered(client, "wanted", 6));
  const auto error = client.answer<contract::Error>(id);
  EXPECT_EQ(error.code, "out_of_memory");
  for (const char* part : {"wanted needs 6.00 GiB", "3.00 GiB of the budget of 10.00 GiB",
                           "busy-one (7.00 GiB, open requests: 1, of test (process 4711))"})
    EXPECT_NE(error.what.find(part), std::string::npos) << error.what;
  EXPECT_TRUE(told_to_leave().empty());
}

TEST_F(MemoryTest, ModelsOfTheSameFilesAreToldApartByTheirDtype) {
  plan.weights_bytes = 6 * kGiB;
  folder.write("w", "x");
  contract::OfferModel offer;
  offer.name = "same";
  offer.labels = {"model.safetensors"};
  offer.dtype = "int8";
  std::vector<Fd> fds;
  fds.push_back(folder.open("w"));
  send(client, next_id, offer, std::move(fds));
  off_loop.run_all();
  recognise();
  load(client, client.answer<contract::ModelOffered>(next_id++).model);
  finish_load();
  const std::uint32_t id = free(other, 0);
  finish_unload();
  EXPECT_EQ(other.answer<contract::MemoryFreed>(id).models, Names{"same int8"});
}

TEST_F(MemoryTest, AModelThatIsWaitedForIsAtWork) {
  const std::string a = hot(other, "a", 7);
  for (int i = 0; i < 5; ++i) generate(other, a);  // four slots: one waits
  const auto jobs = worker.of_type(contract::Generate::kType);
  ASSERT_EQ(jobs.size(), 4u);
  const std::uint32_t id = load(client, offered(client, "b", 6));
  EXPECT_EQ(client.error_code(id), "out_of_memory");
}

TEST_F(MemoryTest, AModelWhoseLoadRunsCountsInFull) {
  const std::string a = offered(client, "a", 6);
  load(client, a);
  const std::uint32_t id = load(client, offered(client, "b", 6));
  EXPECT_EQ(client.error_code(id), "out_of_memory");
  EXPECT_EQ(taken(), 6 * kGiB);
}

TEST_F(MemoryTest, WhatNeverFitsIsRefusedWithoutEvictingAnybody) {
  hot(other, "a", 6);
  const std::string huge = offered(client, "huge", 11);
  const std::uint32_t id = generate(client, huge);
  const auto error = client.answer<contract::Error>(id);
  EXPECT_EQ(error.code, "out_of_memory");
  EXPECT_NE(error.what.find("all of it would not do"), std::string::npos) << error.what;
  EXPECT_NE(error.hint.find("int8"), std::string::npos);
  EXPECT_TRUE(told_to_leave().empty());
}

TEST_F(MemoryTest, SizesThatFilesClaimDoNotWrap) {
  plan.weights_bytes = plan.cache_bytes = std::numeric_limits<std::uint64_t>::max() - 5;
  plan.scratch_bytes = 17;
  const std::string model = hold_model(client, next_id++, "liar");
  const std::uint32_t id = load(client, model);
  EXPECT_EQ(client.error_code(id), "out_of_memory");
}

TEST_F(MemoryTest, RefusedForNowIsLoadedOnceTheOtherHasAnswered) {
  const std::string a = hot(other, "a", 7);
  generate(other, a);
  const std::string b = offered(client, "b", 6);
  EXPECT_EQ(client.error_code(load(client, b)), "out_of_memory");
  from_worker(worker.last<contract::Generate>().request_id, generated("done"));
  const std::uint32_t id = load(client, b);
  finish_unload();
  finish_load();
  client.answer<contract::ModelLoaded>(id);
}

TEST_F(MemoryTest,
       WhenTheDeviceHasLessThanTheLedgerSaysOneIdleModelLeavesAndTheLoadIsTriedOnceMore) {
  hot(other, "a", 3);
  hot(other, "b", 3);
  const std::uint32_t id = load(client, offered(client, "c", 3));
  contract::Error full;
  full.code = "out_of_memory";
  full.what = "the device is full";
  from_worker(worker.last<contract::LoadModel>().request_id, full);
  ASSERT_EQ(told_to_leave().size(), 1u);
  finish_unload();
  from_worker(worker.last<contract::LoadModel>().request_id, full);
  const auto error = client.answer<contract::Error>(id);
  EXPECT_EQ(error.code, "out_of_memory");
  EXPECT_NE(error.what.find("the device is full"), std::string::npos) << error.what;
  EXPECT_NE(error.what.find("Held: b 3.00 GiB"), std::string::npos) << error.what;
  EXPECT_EQ(told_to_leave().size(), 1u);
  const LadderCounts& counts = broker->core().ladder;
  EXPECT_EQ(counts.lacks, 2u);
  EXPECT_EQ(counts.evictions, 1u);
  EXPECT_EQ(counts.retries, 1u);
  EXPECT_EQ(counts.failures, 1u);
  const std::string text = metrics_text(const_cast<Core&>(broker->core()));
  for (const char* sample : {"{rung=\"lack\"} 2\n", "{rung=\"evict\"} 1\n", "{rung=\"retry\"} 1\n",
                             "{rung=\"fail\"} 1\n"})
    EXPECT_NE(text.find(std::string("hearth_memory_ladder_total") + sample), std::string::npos)
        << sample;
}

TEST_F(MemoryTest, ADryRunSaysWhoWouldLeaveAndChangesNothing) {
  hot(other, "a", 6);
  const std::string busy = hot(other, "busy", 4);
  generate(other, busy);
  const std::string b = offered(client, "b", 5);
  const auto fits = planned(client, b);
  EXPECT_TRUE(fits.fits);
  EXPECT_EQ(fits.leaving, Names{"a"});
  EXPECT_EQ(fits.at_work, Names{"busy"});
  EXPECT_EQ(fits.free_bytes, 0u);
  EXPECT_EQ(fits.budget_bytes, 10 * kGiB);
  EXPECT_EQ(fits.memory, plan);
  const auto too_large = planned(client, offered(client, "c", 7));
  EXPECT_FALSE(too_large.fits);
  EXPECT_TRUE(too_large.leaving.empty());
  EXPECT_TRUE(planned(other, busy).is_hot);
  EXPECT_TRUE(planned(other, busy).leaving.empty());
  EXPECT_TRUE(told_to_leave().empty());
}

TEST_F(MemoryTest, ADryRunOfWhatFitsNamesNobody) {
  hot(other, "a", 6);
  const auto fits = planned(client, offered(client, "b", 3));
  EXPECT_TRUE(fits.fits);
  EXPECT_TRUE(fits.leaving.empty());
  EXPECT_EQ(fits.free_bytes, 4 * kGiB);
}

TEST_F(MemoryTest, ADryRunOfWhatTheEngineHasNotSeenIsForLater) {
  broker->worker_gone("it was ended by Killed");
  folder.write("config.json", "{}");
  ASSERT_TRUE(broker->publish({"public", folder.path()}));
  contract::PlanLoad message;
  message.model = "public";
  send(client, 900, message);
  EXPECT_EQ(client.error_code(900), "busy");
}

TEST_F(MemoryTest, ADryRunOfAnothersModelIsRefused) {
  const std::string a = offered(other, "a", 1);
  contract::PlanLoad message;
  message.model = a;
  send(client, 900, message);
  EXPECT_EQ(client.error_code(900), "unknown_model");
}

TEST_F(MemoryTest, FreeMemoryIsAnsweredWhenTheModelsHaveLeft) {
  const std::string a = hot(other, "a", 6);
  const std::uint32_t id = free(client, kGiB);
  EXPECT_EQ(told_to_leave(), Names{a});
  EXPECT_EQ(client.terminals(id), 0u);
  finish_unload();
  const auto freed = client.answer<contract::MemoryFreed>(id);
  EXPECT_EQ(freed.freed_bytes, 6 * kGiB);
  EXPECT_EQ(freed.resident_bytes, 0u);
  EXPECT_EQ(freed.models, Names{"a"});
}

TEST_F(MemoryTest, FreeMemoryOfAnotherUserEvictsNoModelAtWork) {
  const std::string a = hot(client, "a", 6);
  const std::uint32_t answer = generate(client, a);
  for (const std::uint64_t nbytes : {std::uint64_t{0}, kGiB, 100 * kGiB}) {
    const auto freed = other.answer<contract::MemoryFreed>(free(other, nbytes));
    EXPECT_EQ(freed.freed_bytes, 0u);
    EXPECT_EQ(freed.resident_bytes, 6 * kGiB);
    EXPECT_TRUE(freed.models.empty());
  }
  EXPECT_TRUE(told_to_leave().empty());
  from_worker(worker.last<contract::Generate>().request_id, generated("done"));
  client.answer<contract::Generated>(answer);
}

TEST_F(MemoryTest, AskedForMoreThanIsIdleAllThatIsIdleLeaves) {
  hot(client, "a", 2);
  hot(client, "b", 2);
  const std::string busy = hot(client, "busy", 4);
  generate(client, busy);
  free(other, 9 * kGiB);
  EXPECT_EQ(told_to_leave().size(), 2u);
}

TEST_F(MemoryTest, TwoWhoAskAtOnceAreBothAnsweredByTheSameLeaving) {
  hot(client, "a", 6);
  hot(client, "b", 4);
  const std::uint32_t one = free(client, kGiB);
  const std::uint32_t two = free(other, kGiB);
  EXPECT_EQ(told_to_leave().size(), 1u);
  finish_unload();
  EXPECT_EQ(client.answer<contract::MemoryFreed>(one).freed_bytes, 6 * kGiB);
  EXPECT_EQ(other.answer<contract::MemoryFreed>(two).freed_bytes, 6 * kGiB);
}

TEST_F(MemoryTest, TheEndOfTheEngineFreesEverything) {
  hot(client, "a", 6);
  const std::uint32_t id = free(other, 0);
  broker->worker_gone("it was ended by Killed");
  EXPECT_EQ(other.answer<contract::MemoryFreed>(id).freed_bytes, 6 * kGiB);
  EXPECT_EQ(taken(), 0u);
}

TEST_F(MemoryTest, WhoAskedForMemoryAndLeftIsNotAnswered) {
  hot(client, "a", 6);
  const std::uint32_t id = free(other, 0);
  send(other, id, contract::Cancel{});
  EXPECT_EQ(other.error_code(id), "cancelled");
  finish_unload();
  EXPECT_EQ(other.terminals(id), 1u);
  const std::uint32_t again = free(other, 0);
  other.answer<contract::MemoryFreed>(again);
}

TEST_F(MemoryTest, TheBudgetLeavesRoomForOthers) {
  const auto budget_of = [&](const std::string& kind, std::uint64_t nbytes) {
    make_broker(Config{});
    broker->start();
    contract::WorkerReady ready;
    ready.device.kind = kind;
    ready.device.memory_bytes = nbytes;
    ready.slots = 1;
    from_worker(0, ready);
    return memory_budget_bytes(broker->core());
  };
  EXPECT_EQ(budget_of("cpu", 32 * kGiB), 24 * kGiB);
  EXPECT_EQ(budget_of("cuda", 8 * kGiB), 7 * kGiB);
  EXPECT_EQ(budget_of("cuda", 100 * kGiB), 94 * kGiB);
  EXPECT_EQ(budget_of("cuda", kMiB), 0u);
}

TEST_F(MemoryTest, CachesAreShownAsTheEngineReportsThemUntilTheirModelLeaves) {
  const std::string a = hot(client, "a", 6);
  contract::CacheReport report;
  contract::CacheEntry prefix;
  prefix.model = a;
  prefix.name = "prefix";
  prefix.entries = 12;
  prefix.hits = 3;
  contract::CacheEntry stray = prefix;
  stray.model = "gone";
  report.caches = {prefix, stray};
  from_worker(0, report);
  const auto caches = status(client, next_id++).caches;
  ASSERT_EQ(caches.size(), 2u);
  EXPECT_EQ(caches[0].name, "result");
  EXPECT_EQ(caches[1], prefix);
  free(client, 0);
  finish_unload();
  EXPECT_EQ(status(client, next_id++).caches.size(), 1u);
}

TEST_F(MemoryTest, AReportOfManyCachesIsCutToWhatAFrameHolds) {
  contract::CacheReport report;
  report.caches.resize(1024);
  for (contract::CacheEntry& cache : report.caches) cache.name = "prefix";
  const std::string a = hot(client, "a", 6);
  for (contract::CacheEntry& cache : report.caches) cache.model = a;
  from_worker(0, report);
  EXPECT_EQ(status(client, next_id++).caches.size(), 512u);
}

}  // namespace
}  // namespace hearth::broker
