// Models: offered, recognised, loaded, shared, given up.
#include <set>

#include <sys/socket.h>

#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class ModelsTest : public BrokerTest {
 protected:
  void offer_fd(FakeClient& client, std::uint32_t request_id, Fd fd,
                std::vector<std::string> labels = {"config.json"}) {
    contract::OfferModel message;
    message.labels = std::move(labels);
    std::vector<Fd> fds;
    fds.push_back(std::move(fd));
    send(client, request_id, message, std::move(fds));
    off_loop.run_all();
  }
};

TEST_F(ModelsTest, OfferIsExaminedThenRecognisedThenAnswered) {
  FakeClient client;
  connect(client);
  start_worker();
  offer(client, 1);
  EXPECT_EQ(off_loop.last_lane, OffLoop::Lane::kClientFiles);
  EXPECT_EQ(worker.count<contract::AttachModel>(), 0u);
  off_loop.run_all();
  ASSERT_EQ(worker.count<contract::AttachModel>(), 1u);
  EXPECT_EQ(worker.last<contract::AttachModel>().fds.size(), 1u);
  EXPECT_EQ(client.terminals(1), 0u);
  recognise();
  const auto reply = client.answer<contract::ModelOffered>(1);
  EXPECT_EQ(reply.family, "hearth_fake");
  EXPECT_EQ(reply.model.size(), 16u);
  EXPECT_EQ(reply.model.find_first_not_of("0123456789abcdef"), std::string::npos);
}

TEST_F(ModelsTest, OnlyRegularFilesOpenedForReadingAreTaken) {
  FakeClient client;
  connect(client);
  start_worker();
  folder.write("w", "x");
  offer_fd(client, 1, folder.open("w", O_RDWR));
  offer_fd(client, 2, folder.open("w", O_PATH));
  offer_fd(client, 3, Fd(::open("/dev/null", O_RDONLY)));
  offer_fd(client, 4, folder.open(".", O_RDONLY | O_DIRECTORY));
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const Fd other(ends[1]);
  offer_fd(client, 5, Fd(ends[0]));
  for (const std::uint32_t id : {1u, 2u, 3u, 4u, 5u}) EXPECT_EQ(client.error_code(id), "bad_model");
  EXPECT_EQ(worker.count<contract::AttachModel>(), 0u);
}

TEST_F(ModelsTest, LabelsMustBePlainNamesOneForEachDescriptor) {
  FakeClient client;
  connect(client);
  start_worker();
  folder.write("w", "x");
  std::uint32_t id = 0;
  for (const std::string label : {"", ".", "..", "a/b", "../x", "a\nb"})
    offer_fd(client, ++id, folder.open("w"), {label});
  offer_fd(client, ++id, folder.open("w"), {"a", "b"});
  offer_fd(client, ++id, folder.open("w"), {});
  for (const std::vector<std::string>& labels :
       {std::vector<std::string>{"a"}, std::vector<std::string>{"a", "a"}}) {
    contract::OfferModel two;
    two.labels = labels;
    std::vector<Fd> fds;
    for (int i = 0; i < 2; ++i) fds.push_back(folder.open("w"));
    send(client, ++id, two, std::move(fds));
  }
  while (id > 0) EXPECT_EQ(client.error_code(id--), "bad_request");
  contract::OfferModel none;
  send(client, 20, none);
  EXPECT_EQ(client.error_code(20), "bad_request");
}

TEST_F(ModelsTest, AConnectionHoldsOnlySoMany) {
  Config config;
  config.models_held = 2;
  make_broker(config);
  FakeClient client;
  connect(client);
  start_worker();
  hold_model(client, 1, "a");
  hold_model(client, 2, "b");
  offer(client, 3, "c");
  EXPECT_EQ(client.error_code(3), "busy");
}

TEST_F(ModelsTest, AFolderWithMoreFilesThanAModelMayHaveIsRefused) {
  for (int i = 0; i < 240; ++i) folder.write(std::to_string(i) + ".json", "{}");
  EXPECT_TRUE(open_folder(folder.path()));
  folder.write("240.json", "{}");
  const auto refused = open_folder(folder.path());
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("241 model files"), std::string::npos);
}

TEST_F(ModelsTest, EqualFilesGiveAnEqualIdAndOneCopy) {
  FakeClient a;
  FakeClient b;
  connect(a);
  connect(b);
  start_worker();
  folder.write("w", "x");
  offer_fd(a, 1, folder.open("w"));
  recognise();
  offer_fd(b, 1, folder.open("w"));
  EXPECT_EQ(worker.count<contract::AttachModel>(), 1u);
  EXPECT_EQ(a.answer<contract::ModelOffered>(1).model, b.answer<contract::ModelOffered>(1).model);
  EXPECT_EQ(list_models(a, 2).models.at(0).holders, 2u);
  contract::OfferModel other;
  other.labels = {"config.json"};
  other.dtype = "float32";
  std::vector<Fd> fds;
  fds.push_back(folder.open("w"));
  send(a, 3, other, std::move(fds));
  off_loop.run_all();
  recognise();
  EXPECT_NE(a.answer<contract::ModelOffered>(3).model, a.answer<contract::ModelOffered>(1).model);
}

TEST_F(ModelsTest, HeadAndAttentionBelongToAModelAndReachTheWorker) {
  FakeClient a;
  connect(a);
  start_worker();
  folder.write("w", "x");
  const std::pair<const char*, const char*> numerics[] = {
      {"auto", "auto"}, {"bfloat16", "auto"}, {"auto", "eager"}, {"auto", "sdpa"}};
  std::set<std::string> ids;
  std::uint32_t request = 0;
  for (const auto& [head, attention] : numerics) {
    contract::OfferModel offer;
    offer.labels = {"config.json"};
    offer.head = head;
    offer.attention = attention;
    std::vector<Fd> fds;
    fds.push_back(folder.open("w"));
    send(a, ++request, offer, std::move(fds));
    off_loop.run_all();
    const OutFrame asked = worker.last<contract::AttachModel>();
    const auto attached = contract::unpack<contract::AttachModel>(bytes_of(asked.body));
    EXPECT_EQ(attached->head, head);
    EXPECT_EQ(attached->attention, attention);
    recognise();
    ids.insert(a.answer<contract::ModelOffered>(request).model);
  }
  EXPECT_EQ(ids.size(), std::size(numerics));
}

TEST_F(ModelsTest, AModelIsUsableOnlyByThoseWhoOfferedIt) {
  FakeClient a;
  FakeClient b;
  connect(a);
  connect(b);
  start_worker();
  const std::string model = hold_model(a, 1);
  load(b, 1, model);
  EXPECT_EQ(b.error_code(1), "unknown_model");
  send(b, 2, request_for(model));
  EXPECT_EQ(b.error_code(2), "unknown_model");
  unload(b, 3, model);
  EXPECT_EQ(b.error_code(3), "unknown_model");
  EXPECT_TRUE(list_models(b, 4).models.empty());
  EXPECT_EQ(list_models(a, 4).models.size(), 1u);
}

TEST_F(ModelsTest, RefusalByTheWorkerReachesTheClientAndFreesTheFiles) {
  FakeClient client;
  connect(client);
  start_worker();
  offer(client, 1);
  off_loop.run_all();
  contract::Error refusal;
  refusal.code = "bad_model";
  refusal.what = "model.safetensors: no header";
  from_worker(worker.last<contract::AttachModel>().request_id, refusal);
  EXPECT_EQ(client.answer<contract::Error>(1).what, "model.safetensors: no header");
  EXPECT_EQ(broker->core().models.open_files(), 0u);
}

TEST_F(ModelsTest, FilesThatDoNotAnswerEndTheOfferAfterItsDeadline) {
  FakeClient client;
  connect(client);
  start_worker();
  offer(client, 1);
  tick_after(Milliseconds(4900));
  EXPECT_EQ(client.terminals(1), 0u);
  tick_after(Milliseconds(200));
  EXPECT_EQ(client.error_code(1), "bad_model");
  EXPECT_EQ(off_loop.abandoned, 1);
}

TEST_F(ModelsTest, OffersAreRefusedWhileTooManyFilesAreStuck) {
  FakeClient client;
  connect(client);
  start_worker();
  off_loop.refuses = true;
  offer(client, 1);
  EXPECT_EQ(client.error_code(1), "busy");
}

TEST_F(ModelsTest, OpenFilesOfAllClientsAreLimited) {
  Config config;
  config.model_files = 1;
  make_broker(config);
  FakeClient client;
  connect(client);
  start_worker();
  hold_model(client, 1, "a");
  offer(client, 2, "b");
  EXPECT_EQ(client.error_code(2), "busy");
}

TEST_F(ModelsTest, CancelledOfferLeavesNothingBehind) {
  FakeClient client;
  connect(client);
  start_worker();
  offer(client, 1, "a");
  send(client, 1, contract::Cancel{});
  off_loop.run_all();
  EXPECT_EQ(client.error_code(1), "cancelled");
  EXPECT_EQ(worker.count<contract::AttachModel>(), 0u);
  offer(client, 2, "b");
  off_loop.run_all();
  send(client, 2, contract::Cancel{});
  EXPECT_EQ(client.error_code(2), "cancelled");
  recognise();
  EXPECT_EQ(worker.count<contract::DetachModel>(), 1u);
  EXPECT_EQ(broker->core().models.open_files(), 0u);
}

TEST_F(ModelsTest, LateExaminationIsNotForTheNextRequestOfTheSameId) {
  FakeClient client;
  connect(client);
  start_worker();
  const std::string model = hold_hot_model(client, 10);
  offer(client, 7, "b");
  send(client, 7, contract::Cancel{});
  send(client, 7, request_for(model));
  off_loop.run_all();
  EXPECT_EQ(worker.count<contract::AttachModel>(), 1u);
  from_worker(worker.last<contract::Generate>().request_id, generated("done"));
  EXPECT_EQ(client.terminals(7), 2u);
  EXPECT_EQ(client.received.back().type, contract::Generated::kType);
}

TEST_F(ModelsTest, StatusFitsAFrameHoweverManyModelsThereAre) {
  Config config;
  config.models_held = 4096;
  make_broker(config);
  FakeClient other;
  FakeClient client;
  connect(other);
  connect(client);
  start_worker();
  const auto offer_named = [&](FakeClient& who, std::uint32_t id, const std::string& file) {
    folder.write(file, "x");
    contract::OfferModel message;
    message.name = std::string(250, 'n') + file;
    message.labels = {"config.json"};
    std::vector<Fd> fds;
    fds.push_back(folder.open(file));
    send(who, id, message, std::move(fds));
    recognise();
  };
  for (std::uint32_t i = 0; i < 600; ++i) offer_named(other, 100 + i, std::to_string(i));
  for (std::uint32_t i = 0; i < 3; ++i) offer_named(client, 100 + i, "own" + std::to_string(i));
  const auto report = status(client, 1);
  EXPECT_LE(client.of(1).back().body.size(), kMaxFrameBytes);
  ASSERT_EQ(report.models.size(), 512u);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_NE(report.models[i].name.find("own"), std::string::npos) << i;
  EXPECT_EQ(report.clients.at(0).connection, client.id);
  EXPECT_EQ(list_models(other, 2).models.size(), 512u);
}

TEST_F(ModelsTest, SeveralWhoWaitShareOneLoad) {
  FakeClient a;
  FakeClient b;
  connect(a);
  connect(b);
  start_worker();
  folder.write("w", "x");
  offer_fd(a, 1, folder.open("w"));
  recognise();
  offer_fd(b, 1, folder.open("w"));
  const std::string model = a.answer<contract::ModelOffered>(1).model;
  load(a, 2, model);
  load(b, 2, model);
  EXPECT_EQ(worker.count<contract::LoadModel>(), 1u);
  timer.pass(Milliseconds(250));
  finish_load();
  EXPECT_NEAR(a.answer<contract::ModelLoaded>(2).load_ms, 250.0, 1e-6);
  b.answer<contract::ModelLoaded>(2);
  load(a, 3, model);
  EXPECT_EQ(a.answer<contract::ModelLoaded>(3).load_ms, 0.0);
  EXPECT_EQ(list_models(a, 4).models.at(0).loads, 1u);
  EXPECT_EQ(list_models(a, 5).models.at(0).state, "hot");
}

TEST_F(ModelsTest, LoadingIsShownToThoseWhoWaitForIt) {
  FakeClient client;
  connect(client);
  start_worker();
  const std::string model = hold_model(client, 1);
  load(client, 2, model);
  send(client, 3, request_for(model));
  contract::Progress progress;
  progress.stage = "loading";
  progress.done = 5;
  from_worker(worker.last<contract::LoadModel>().request_id, progress);
  EXPECT_EQ(client.of(2).size(), 1u);
  EXPECT_EQ(client.of(3).size(), 1u);
}

TEST_F(ModelsTest, CancelOfTheLastWhoWaitsCancelsTheLoad) {
  FakeClient client;
  connect(client);
  start_worker();
  const std::string model = hold_model(client, 1);
  load(client, 2, model);
  load(client, 3, model);
  send(client, 2, contract::Cancel{});
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);
  send(client, 3, contract::Cancel{});
  send(client, 3, contract::Cancel{});
  EXPECT_EQ(worker.count<contract::Cancel>(), 1u);
  EXPECT_EQ(client.error_code(2), "cancelled");
  EXPECT_EQ(client.error_code(3), "cancelled");
  load(client, 4, model);  // comes while the worker still ends the cancelled load
  contract::Error cancelled;
  cancelled.code = "cancelled";
  from_worker(worker.last<contract::LoadModel>().request_id, cancelled);
  EXPECT_EQ(worker.count<contract::LoadModel>(), 2u);
  finish_load();
  client.answer<contract::ModelLoaded>(4);
}

TEST_F(ModelsTest, LastHolderWhoUnloadsFreesTheModel) {
  FakeClient a;
  FakeClient b;
  connect(a);
  connect(b);
  start_worker();
  folder.write("w", "x");
  offer_fd(a, 1, folder.open("w"));
  recognise();
  offer_fd(b, 1, folder.open("w"));
  const std::string model = a.answer<contract::ModelOffered>(1).model;
  load(a, 2, model);
  finish_load();
  unload(a, 3, model);
  EXPECT_TRUE(a.answer<contract::ModelUnloaded>(3).resident);
  unload(b, 2, model);
  EXPECT_EQ(b.terminals(2), 0u);
  finish_unload();
  EXPECT_FALSE(b.answer<contract::ModelUnloaded>(2).resident);
  EXPECT_EQ(worker.count<contract::DetachModel>(), 1u);
  EXPECT_EQ(broker->core().models.open_files(), 0u);
  unload(b, 3, model);
  EXPECT_EQ(b.error_code(3), "unknown_model");
}

TEST_F(ModelsTest, ModelInUseLeavesAfterItsLastJob) {
  FakeClient client;
  connect(client);
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  send(client, 5, request_for(model));
  unload(client, 6, model);
  EXPECT_TRUE(client.answer<contract::ModelUnloaded>(6).resident);
  EXPECT_EQ(worker.count<contract::UnloadModel>(), 0u);
  from_worker(worker.last<contract::Generate>().request_id, generated("done"));
  EXPECT_EQ(worker.count<contract::UnloadModel>(), 1u);
}

TEST_F(ModelsTest, ModelStaysWarmWhenItsClientOnlyDisconnects) {
  FakeClient a;
  connect(a);
  start_worker();
  folder.write("w", "x");
  offer_fd(a, 1, folder.open("w"));
  recognise();
  const std::string model = a.answer<contract::ModelOffered>(1).model;
  load(a, 2, model);
  finish_load();
  broker->disconnect(a.id);
  EXPECT_EQ(worker.count<contract::UnloadModel>(), 0u);
  FakeClient b;
  connect(b);
  load(b, 1, model);  // knowing the id is not enough
  EXPECT_EQ(b.error_code(1), "unknown_model");
  offer_fd(b, 2, folder.open("w"));
  EXPECT_EQ(b.answer<contract::ModelOffered>(2).model, model);
  load(b, 3, model);
  EXPECT_EQ(b.answer<contract::ModelLoaded>(3).load_ms, 0.0);
}

TEST_F(ModelsTest, ColdModelOfADeadClientIsForgotten) {
  FakeClient client;
  connect(client);
  start_worker();
  hold_model(client, 1);
  broker->disconnect(client.id);
  EXPECT_EQ(worker.count<contract::DetachModel>(), 1u);
  EXPECT_EQ(broker->core().models.open_files(), 0u);
}

TEST_F(ModelsTest, IdleModelThatNobodyHoldsMakesRoomForAnother) {
  FakeClient gone;
  FakeClient client;
  connect(gone);
  connect(client);
  start_worker();
  hold_hot_model(gone, 1, "old");
  broker->disconnect(gone.id);
  const std::string wanted = hold_model(client, 1, "new");
  load(client, 2, wanted);
  contract::Error full;
  full.code = "out_of_memory";
  from_worker(worker.last<contract::LoadModel>().request_id, full);
  EXPECT_EQ(client.terminals(2), 0u);
  EXPECT_EQ(worker.count<contract::UnloadModel>(), 1u);
  EXPECT_EQ(worker.count<contract::LoadModel>(), 2u);  // not tried again before there is room
  finish_unload();
  EXPECT_EQ(worker.count<contract::LoadModel>(), 3u);
  from_worker(worker.last<contract::LoadModel>().request_id, full);
  EXPECT_EQ(client.error_code(2), "out_of_memory");
}

}  // namespace
}  // namespace hearth::broker
