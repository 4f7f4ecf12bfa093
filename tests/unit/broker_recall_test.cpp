// Answers that are given again: whose, to whom, for how long, and what the receipt says.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

ResultCache::Key key_of(uid_t user, const std::string& word, const std::string& model = "m",
                        std::uint64_t fingerprint = 1) {
  return {user, model, word, fingerprint};
}

// A budget for three answers of about 1000 bytes.
class ResultCacheTest : public testing::Test {
 protected:
  void keep(uid_t user, const std::string& word, std::size_t n_bytes = 1000) {
    cache.keep(key_of(user, word), std::string(n_bytes, 'x'));
  }
  bool has(uid_t user, const std::string& word) {
    return cache.find(key_of(user, word)) != nullptr;
  }

  ResultCache cache{3900};
};

TEST_F(ResultCacheTest, OnlyTheSameUserModelKeyAndFieldsMeet) {
  cache.keep(key_of(1, "a"), "answer");
  ASSERT_NE(cache.find(key_of(1, "a")), nullptr);
  EXPECT_EQ(*cache.find(key_of(1, "a")), "answer");
  EXPECT_EQ(cache.find(key_of(2, "a")), nullptr);
  EXPECT_EQ(cache.find(key_of(1, "b")), nullptr);
  EXPECT_EQ(cache.find(key_of(1, "a", "other")), nullptr);
  EXPECT_EQ(cache.find(key_of(1, "a", "m", 2)), nullptr);
  EXPECT_EQ(cache.use().hits, 2u);
  EXPECT_EQ(cache.use().misses, 4u);
}

TEST_F(ResultCacheTest, TheLeastRecentlyUsedGoesWhenItIsFull) {
  for (const char* word : {"a", "b", "c"}) keep(1, word);
  EXPECT_TRUE(has(1, "a"));
  keep(1, "d");
  EXPECT_TRUE(has(1, "a"));
  EXPECT_FALSE(has(1, "b"));
  EXPECT_TRUE(has(1, "c") && has(1, "d"));
}

TEST_F(ResultCacheTest, WhoFillsItLosesHisOwn) {
  keep(2, "mine");
  for (int i = 0; i < 100; ++i) keep(1, std::to_string(i));
  EXPECT_TRUE(has(2, "mine"));
  EXPECT_TRUE(has(1, "99"));
  EXPECT_LE(cache.bytes(), 3900u);
}

TEST_F(ResultCacheTest, WhatIsLargerThanTheBudgetIsNotKeptAndCostsNobodyHisOwn) {
  keep(1, "a");
  keep(1, "b", 5000);
  EXPECT_FALSE(has(1, "b"));
  EXPECT_TRUE(has(1, "a"));
  ResultCache none(0);
  none.keep(key_of(1, "a"), "answer");
  EXPECT_EQ(none.find(key_of(1, "a")), nullptr);
}

TEST_F(ResultCacheTest, AnAnswerUnderTheSameKeyTakesTheEarliersPlace) {
  keep(1, "a", 900);
  const std::uint64_t before = cache.bytes();
  keep(1, "a", 800);
  EXPECT_EQ(cache.use().entries, 1u);
  EXPECT_EQ(cache.bytes(), before - 100);
}

TEST_F(ResultCacheTest, ASmallerBudgetLetsGoWhatIsOverItAndNothingElse) {
  for (const char* word : {"a", "b", "c"}) keep(1, word);
  const std::uint64_t of_one = cache.bytes() / 3;
  cache.set_budget(2 * of_one);
  EXPECT_FALSE(has(1, "a"));
  EXPECT_TRUE(has(1, "b") && has(1, "c"));
  cache.set_budget(0);
  EXPECT_EQ(cache.bytes(), 0u);
}

class RecallTest : public BrokerTest {
 protected:
  RecallTest() {
    start_worker();
    connect(client);
    model = hold_hot_model(client, 1);
  }
  contract::Generate question(const std::string& result_key = "pixels") {
    contract::Generate message = request_for(model);
    message.result_key = result_key;
    return message;
  }
  // Asks; when the engine is asked, it answers.
  std::uint32_t ask(FakeClient& who, const contract::Generate& message) {
    const std::size_t before = jobs();
    send(who, ++last_id, message);
    if (jobs() == before) return last_id;
    contract::Generated reply = generated("a red circle");
    reply.token_ids = std::string(8, '\1');
    reply.token_us = std::string(8, '\2');
    reply.receipt.generated_tokens = 2;
    reply.receipt.prompt_tokens = 9;
    reply.receipt.decode_ms = 123.0;
    reply.receipt.dtype = "int8";
    timer.pass(Milliseconds(500));
    from_worker(worker.last<contract::Generate>().request_id, reply);
    return last_id;
  }
  std::size_t jobs() const { return worker.count<contract::Generate>(); }
  bool replayed(std::uint32_t id) {
    return client.answer<contract::Generated>(id).receipt.replayed;
  }

  FakeClient client;
  std::string model;
  std::uint32_t last_id = 100;
};

TEST_F(RecallTest, AnEqualQuestionIsAnsweredWithoutTheEngine) {
  EXPECT_FALSE(replayed(ask(client, question())));
  const std::uint32_t id = ask(client, question());
  EXPECT_EQ(jobs(), 1u);
  const auto reply = client.answer<contract::Generated>(id);
  EXPECT_EQ(reply.text, "a red circle");
  EXPECT_EQ(reply.token_ids, std::string(8, '\1'));
  EXPECT_EQ(reply.token_us, "");
  ASSERT_EQ(client.of(id).size(), 2u);
  const auto said = contract::unpack<contract::Token>(bytes_of(client.of(id)[0].body));
  EXPECT_EQ(said->text, "a red circle");
  EXPECT_EQ(status(client, 900).served, 2u);
}

TEST_F(RecallTest, TheReceiptTellsOfThisRequestAndNotOfTheFirst) {
  ask(client, question());
  const auto receipt = client.answer<contract::Generated>(ask(client, question())).receipt;
  EXPECT_TRUE(receipt.replayed);
  EXPECT_EQ(receipt.total_ms, 0.0);
  EXPECT_EQ(receipt.decode_ms, 0.0);
  EXPECT_EQ(receipt.tokens_per_second, 0.0);
  EXPECT_EQ(receipt.generated_tokens, 2u);
  EXPECT_EQ(receipt.prompt_tokens, 9u);
  EXPECT_EQ(receipt.dtype, "int8");
  EXPECT_EQ(receipt.model, model);
}

TEST_F(RecallTest, WhoGivesNoResultKeyIsNeverAnsweredFromTheCache) {
  ask(client, question(""));
  EXPECT_FALSE(replayed(ask(client, question(""))));
  EXPECT_FALSE(replayed(ask(client, question())));
  EXPECT_EQ(jobs(), 3u);
  EXPECT_EQ(status(client, 900).caches.at(0).entries, 1u);
}

TEST_F(RecallTest, EveryFieldCounts) {
  ask(client, question());
  std::vector<contract::Generate> others(5, question());
  others[0].seed = 2;
  others[1].messages[0].content[0].text = "Hello";
  others[2].max_tokens = 3;
  others[3].result_key = "other pixels";
  others[4].stop = {"x"};
  for (const contract::Generate& other : others) EXPECT_FALSE(replayed(ask(client, other)));
  contract::Generate same = question();
  same.priority = "batch";
  same.key = "a random one";
  EXPECT_TRUE(replayed(ask(client, same)));
}

TEST_F(RecallTest, WhereAPictureLiesDoesNotCountButItsShapeDoes) {
  const ArenaId one = grant_arena(client, 50);
  const ArenaId two = grant_arena(client, 51);
  contract::Generate first = question();
  add_picture(first, one, 4096);
  ask(client, first);
  contract::Generate second = question();
  add_picture(second, two, 8192);
  const std::uint32_t id = ask(client, second);
  EXPECT_TRUE(replayed(id));
  EXPECT_EQ(client.of(id).at(0).type, contract::InputsDone::kType);
  second.messages[0].content[1].tensor->shape = {1, 4, 3};
  EXPECT_FALSE(replayed(ask(client, second)));
}

TEST_F(RecallTest, AnotherConnectionOfTheUserIsAnsweredAnotherUserNever) {
  ask(client, question());
  FakeClient same_user;
  FakeClient stranger;
  connect(same_user);
  connect(stranger, true, 1001);
  ASSERT_EQ(hold_same_model(same_user, 1), model);
  ASSERT_EQ(hold_same_model(stranger, 1), model);
  EXPECT_TRUE(same_user.answer<contract::Generated>(ask(same_user, question())).receipt.replayed);
  EXPECT_FALSE(stranger.answer<contract::Generated>(ask(stranger, question())).receipt.replayed);
  EXPECT_EQ(jobs(), 2u);
}

TEST_F(RecallTest, WhoDoesNotHoldTheModelGetsNoAnswerOfIt) {
  ask(client, question());
  FakeClient same_user;
  connect(same_user);
  EXPECT_EQ(same_user.error_code(ask(same_user, question())), "unknown_model");
}

TEST_F(RecallTest, AnErrorIsNotKept) {
  send(client, ++last_id, question());
  contract::Error error;
  error.code = "not_finite";
  from_worker(worker.last<contract::Generate>().request_id, error);
  EXPECT_FALSE(replayed(ask(client, question())));
}

TEST_F(RecallTest, AKeyThatIsTooLongIsRefused) {
  EXPECT_EQ(client.error_code(ask(client, question(std::string(129, 'k')))), "bad_request");
  EXPECT_FALSE(replayed(ask(client, question(std::string(128, 'k')))));
  EXPECT_TRUE(replayed(ask(client, question(std::string(128, 'k')))));
}

TEST_F(RecallTest, AnswersOutliveTheModelsPlaceInMemory) {
  ask(client, question());
  contract::FreeMemory message;
  send(client, 900, message);
  finish_unload();
  const std::size_t loads = worker.count<contract::LoadModel>();
  EXPECT_TRUE(replayed(ask(client, question())));
  EXPECT_EQ(worker.count<contract::LoadModel>(), loads);
}

}  // namespace
}  // namespace hearth::broker
