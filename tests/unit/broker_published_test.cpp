// Models that the service publishes, and the list that knows them all.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

using PublishedTest = BrokerTest;

TEST_F(PublishedTest, PublicModelsAreListedFirstAndUsableByName) {
  folder.write("config.json", "{}");
  folder.write("model.safetensors", "x");
  folder.write("notes.md", "not a model file");
  ASSERT_TRUE(broker->publish({"ember", folder.path()}));
  FakeClient client;
  connect(client);
  start_worker();
  ASSERT_EQ(worker.count<contract::AttachModel>(), 1u);  // recognised before anybody asks
  EXPECT_EQ(worker.last<contract::AttachModel>().fds.size(), 2u);
  recognise();
  const auto models = list_models(client, 1).models;
  ASSERT_EQ(models.size(), 1u);
  EXPECT_TRUE(models[0].is_public);
  EXPECT_EQ(models[0].family, "hearth_fake");
  send(client, 2, request_for("ember"));
  finish_load();
  const auto job = worker.last<contract::Generate>();
  EXPECT_EQ(contract::unpack<contract::Generate>(bytes_of(job.body))->model, models[0].model);
  from_worker(job.request_id, generated("done"));
  unload(client, 3, "ember");
  finish_unload();
  EXPECT_EQ(list_models(client, 4).models.at(0).state, "cold");
}

TEST_F(PublishedTest, APublicModelHasItsPublicNameWhateverAClientCallsIt) {
  folder.write("config.json", "{}");
  folder.write("model.safetensors", "x");
  ASSERT_TRUE(broker->publish({"first", folder.path()}));
  // As after an upgrade: known, and published anew by the configuration of the next program.
  for (Model* model : const_cast<Core&>(broker->core()).models.all()) model->is_public = false;
  ASSERT_TRUE(broker->publish({"second", folder.path()}));
  FakeClient client;
  connect(client);
  EXPECT_EQ(list_models(client, 1).models.at(0).name, "second");
}

TEST(Models, WhoGoesThroughAllMayComeToOneThatWasErased) {
  Models models;
  ExaminedFiles files;
  for (const char* key : {"a", "b"}) {
    files.identity = files.model_id = key;
    ASSERT_TRUE(models.add(files, key));
  }
  const std::vector<Model*> all = models.all();
  ASSERT_EQ(all.size(), 2u);
  models.erase(all[1]->id);
  EXPECT_EQ(models.find(all[1]->id), nullptr);
  EXPECT_TRUE(all[1]->is_disposable());  // ASan would tell
  models.drop_erased();
  EXPECT_EQ(models.all().size(), 1u);
}

TEST_F(PublishedTest, FoldersThatCannotBePublishedAreNamed) {
  EXPECT_FALSE(broker->publish({"x", folder.path() + "/missing"}));
  const auto empty = broker->publish({"x", folder.path()});
  ASSERT_FALSE(empty);
  EXPECT_NE(empty.error().what.find(folder.path()), std::string::npos);
}

}  // namespace
}  // namespace hearth::broker
