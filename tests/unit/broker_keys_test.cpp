// Requests that are sent again with their key.
#include <map>

#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class KeysTest : public BrokerTest {
 protected:
  void SetUp() override {
    connect(client);
    start_worker(1);
    model = hold_hot_model(client, 1000);
    request = request_for(model);
    request.key = "k";
  }
  void join(FakeClient& other) {
    connect(other);
    hold_same_model(other, 1000);
  }
  JobId last_job() const { return worker.last<contract::Generate>().request_id; }
  std::size_t dispatched() const { return worker.count<contract::Generate>(); }
  static contract::Token token(const std::string& text) {
    contract::Token message;
    message.text = text;
    return message;
  }
  static std::string said(const FakeClient& to, std::uint32_t request_id) {
    std::string text;
    for (const OutFrame& frame : to.of(request_id)) {
      if (frame.type != contract::Token::kType) continue;
      text += contract::unpack<contract::Token>(bytes_of(frame.body))->text;
    }
    return text;
  }
  void end_with_error(const std::string& code) {
    contract::Error error;
    error.code = code;
    from_worker(last_job(), error);
  }

  FakeClient client;
  std::string model;
  contract::Generate request;
};

TEST_F(KeysTest, SentAgainWhileItRunsTheNewRequestGetsTheAnswerAndAllThatWasSaid) {
  send(client, 1, request);
  from_worker(last_job(), token("one "));
  FakeClient other;
  join(other);
  send(other, 5, request);
  EXPECT_EQ(client.error_code(1), "cancelled");
  from_worker(last_job(), token("two"));
  from_worker(last_job(), generated("one two"));
  EXPECT_EQ(dispatched(), 1u);
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);
  EXPECT_EQ(said(other, 5), "one two");
  const auto reply = other.answer<contract::Generated>(5);
  EXPECT_EQ(reply.text, "one two");
  EXPECT_FALSE(reply.receipt.replayed);
  EXPECT_TRUE(broker->core().jobs.empty());
}

TEST_F(KeysTest, WhatWasSaidComesInFewPiecesHoweverManyTokensItHad) {
  send(client, 1, request);
  contract::Token one = token("word ");
  one.token_ids = "1234";
  for (int i = 0; i < 10'000; ++i) from_worker(last_job(), one);
  send(client, 2, request);
  EXPECT_EQ(said(client, 2), said(client, 1));
  std::string ids;
  std::size_t pieces = 0;
  for (const OutFrame& frame : client.of(2)) {
    if (frame.type != contract::Token::kType) continue;
    ids += contract::unpack<contract::Token>(bytes_of(frame.body))->token_ids;
    ++pieces;
  }
  EXPECT_EQ(ids.size(), 40'000u);
  EXPECT_LE(pieces, 3u);
}

// What was said to a request, each voice's words in order: "0t" the first answer's thoughts.
std::map<std::string, std::string> voices(const FakeClient& to, std::uint32_t request_id) {
  std::map<std::string, std::string> all;
  for (const OutFrame& frame : to.of(request_id)) {
    if (frame.type != contract::Token::kType) continue;
    const auto piece = contract::unpack<contract::Token>(bytes_of(frame.body));
    all[std::to_string(piece->answer) + (piece->thinking ? "t" : "")] += piece->text;
  }
  return all;
}

TEST_F(KeysTest, SentAgainThoughtsAndFurtherAnswersStayWhatTheyWere) {
  send(client, 1, request);
  for (const char* text : {"a", "b"}) {
    for (const std::uint32_t answer : {0U, 1U}) {
      contract::Token piece = token(text);
      piece.answer = answer;
      piece.thinking = answer == 0 && *text == 'a';
      from_worker(last_job(), piece);
    }
  }
  send(client, 2, request);
  const std::map<std::string, std::string> running = {{"0t", "a"}, {"0", "b"}, {"1", "ab"}};
  EXPECT_EQ(voices(client, 2), running);
  contract::Generated reply = generated("b");
  reply.thinking = "a";
  reply.others.emplace_back();
  reply.others[0].text = "ab";
  reply.others[0].stop_reason = "end_token";
  from_worker(last_job(), reply);
  send(client, 3, request);
  EXPECT_EQ(voices(client, 3), running);
}

TEST_F(KeysTest, SentAgainWhileItWaitsItKeepsItsPlaceUnderTheNewConnection) {
  auto other_request = request_for(model);
  send(client, 1, other_request);  // runs
  send(client, 2, request);
  send(client, 3, other_request);
  FakeClient other;
  join(other);
  send(other, 5, request);
  EXPECT_EQ(client.error_code(2), "cancelled");
  EXPECT_EQ(broker->core().queue.size(), 2u);
  broker->disconnect(client.id);  // takes its own two along, not the one it lost
  end_with_error("cancelled");
  EXPECT_EQ(dispatched(), 2u);
  from_worker(last_job(), generated("kept"));
  EXPECT_EQ(other.answer<contract::Generated>(5).text, "kept");
}

TEST_F(KeysTest, SentAgainOnTheSameConnectionTheLatestIsAnswered) {
  send(client, 1, request);
  send(client, 2, request);
  send(client, 3, request);
  EXPECT_EQ(client.error_code(1), "cancelled");
  EXPECT_EQ(client.error_code(2), "cancelled");
  from_worker(last_job(), generated("x"));
  client.answer<contract::Generated>(3);
  EXPECT_EQ(dispatched(), 1u);
}

TEST_F(KeysTest, SentAgainAfterItsEndTheAnswerIsRepeated) {
  send(client, 1, request);
  from_worker(last_job(), generated("words"));
  EXPECT_FALSE(client.answer<contract::Generated>(1).receipt.replayed);
  FakeClient other;
  join(other);
  tick_after(Milliseconds(59'000));
  send(other, 5, request);
  const auto reply = other.answer<contract::Generated>(5);
  EXPECT_EQ(reply.text, "words");
  EXPECT_TRUE(reply.receipt.replayed);
  EXPECT_EQ(said(other, 5), "words");
  EXPECT_EQ(dispatched(), 1u);
  tick_after(Milliseconds(1'001));
  EXPECT_EQ(broker->core().recent.answers(), 0u);
  send(other, 6, request);
  EXPECT_EQ(dispatched(), 2u);
}

TEST_F(KeysTest, AfterALostWorkerOrAnyErrorItRunsAnew) {
  send(client, 1, request);
  broker->worker_gone("killed by signal 9");
  EXPECT_EQ(client.error_code(1), "worker_lost");
  send(client, 2, request);
  tick_after(Milliseconds(200));
  worker_is_ready(1);
  recognise();
  finish_load();
  EXPECT_EQ(dispatched(), 2u);
  end_with_error("not_finite");
  EXPECT_EQ(client.error_code(2), "not_finite");
  send(client, 3, request);
  EXPECT_EQ(dispatched(), 3u);
  from_worker(last_job(), generated("third time"));
  EXPECT_EQ(client.answer<contract::Generated>(3).text, "third time");
}

TEST_F(KeysTest, ARunningJobWhoseConnectionDiedWaitsFiveSecondsForItsReturn) {
  send(client, 1, request);
  from_worker(last_job(), token("begun "));
  broker->disconnect(client.id);
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);
  EXPECT_TRUE(timer.will_wake_by(timer.now() + Milliseconds(5'000)));
  from_worker(last_job(), token("unheard "));
  tick_after(Milliseconds(4'900));
  FakeClient other;
  join(other);
  send(other, 1, request);
  tick_after(Milliseconds(10'000));
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);
  from_worker(last_job(), token("heard"));
  from_worker(last_job(), generated("begun unheard heard"));
  EXPECT_EQ(said(other, 1), "begun unheard heard");
  other.answer<contract::Generated>(1);
  EXPECT_EQ(dispatched(), 1u);
}

TEST_F(KeysTest, IfNobodyComesBackItIsCancelled) {
  send(client, 1, request);
  broker->disconnect(client.id);
  tick_after(Milliseconds(4'999));
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);
  tick_after(Milliseconds(1));
  EXPECT_EQ(worker.count<contract::Cancel>(), 1u);
  FakeClient other;
  join(other);
  send(other, 1, request);  // too late for that one: it runs anew when there is room
  EXPECT_EQ(other.terminals(1), 0u);
  end_with_error("cancelled");
  EXPECT_EQ(dispatched(), 2u);
  EXPECT_EQ(other.terminals(1), 0u);
  from_worker(last_job(), generated("second"));
  EXPECT_EQ(other.answer<contract::Generated>(1).text, "second");
}

TEST_F(KeysTest, AJobThatIsLeftTwiceDoesNotKeepAnotherFromBeingGivenUp) {
  broker->worker_gone("killed by signal 9");
  tick_after(Milliseconds(200));
  worker_is_ready(2);
  send(client, 1, request);
  recognise();
  finish_load();
  FakeClient other;
  join(other);
  request.key = "l";
  send(other, 1, request);
  ASSERT_EQ(dispatched(), 2u);
  const JobId others = last_job();
  broker->disconnect(client.id);  // now, until 5 s
  FakeClient returned;
  join(returned);
  request.key = "k";
  timer.pass(Milliseconds(1'000));
  send(returned, 1, request);
  timer.pass(Milliseconds(1'000));
  broker->disconnect(other.id);  // until 7 s
  timer.pass(Milliseconds(1'000));
  broker->disconnect(returned.id);  // until 8 s
  tick_after(Milliseconds(4'000));
  ASSERT_EQ(worker.count<contract::Cancel>(), 1u);
  EXPECT_EQ(worker.last<contract::Cancel>().request_id, others);
  tick_after(Milliseconds(1'000));
  EXPECT_EQ(worker.count<contract::Cancel>(), 2u);
}

TEST_F(KeysTest, IfItsProcessIsGoneTooNobodyWillComeBack) {
  send(client, 1, request);
  FakeClient other;
  join(other);
  broker->process_gone(client.id);  // known before the end of the connection
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);
  broker->disconnect(client.id);
  EXPECT_TRUE(broker->awaits_return(client.id));
  EXPECT_FALSE(broker->awaits_return(other.id));
  broker->process_gone(other.id);
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);
  broker->process_gone(client.id);
  EXPECT_EQ(worker.count<contract::Cancel>(), 1u);
  EXPECT_FALSE(broker->awaits_return(client.id));
  tick_after(Milliseconds(5'000));
  EXPECT_EQ(worker.count<contract::Cancel>(), 1u);
}

TEST_F(KeysTest, WithoutAKeyTheWorkOfADeadConnectionIsCancelledAtOnce) {
  request.key.clear();
  send(client, 1, request);
  broker->disconnect(client.id);
  EXPECT_EQ(worker.count<contract::Cancel>(), 1u);
}

TEST_F(KeysTest, WhatOnlyWaitedForADeadConnectionIsDroppedAtOnce) {
  FakeClient other;
  join(other);
  send(other, 1, request_for(model));  // runs
  send(client, 1, request);
  EXPECT_EQ(broker->core().queue.size(), 1u);
  broker->disconnect(client.id);
  EXPECT_EQ(broker->core().queue.size(), 0u);
  EXPECT_EQ(broker->core().jobs.size(), 1u);
}

TEST_F(KeysTest, WhileTheServiceStopsNobodyIsWaitedFor) {
  send(client, 1, request);
  broker->stop("test");
  broker->disconnect(client.id);
  EXPECT_EQ(worker.count<contract::Cancel>(), 1u);
}

TEST_F(KeysTest, AnEncodingOfADeadConnectionIsCancelledAtOnce) {
  contract::Encode encode;
  encode.model = model;
  encode.messages = request.messages;
  encode.layers = {-1};
  encode.key = "e";
  send(client, 1, encode);
  broker->disconnect(client.id);
  EXPECT_EQ(worker.count<contract::Cancel>(), 1u);
}

TEST_F(KeysTest, AnAnswerThatCameWhileNobodyWasThereIsKept) {
  send(client, 1, request);
  broker->disconnect(client.id);
  from_worker(last_job(), generated("unheard"));
  FakeClient other;
  join(other);
  send(other, 1, request);
  const auto reply = other.answer<contract::Generated>(1);
  EXPECT_EQ(reply.text, "unheard");
  EXPECT_TRUE(reply.receipt.replayed);
  EXPECT_EQ(dispatched(), 1u);
}

TEST_F(KeysTest, TheMemoryOfADeadConnectionLivesUntilItsJobEnds) {
  const ArenaId arena = grant_arena(client, 7);
  add_picture(request, arena);
  send(client, 1, request);
  broker->disconnect(client.id);
  EXPECT_EQ(worker.count<contract::DetachArena>(), 0u);
  FakeClient other;
  join(other);
  const ArenaId another = grant_arena(other, 7);
  auto again = request_for(model);
  again.key = "k";
  add_picture(again, another, 8192);  // lies elsewhere, asks the same
  send(other, 1, again);
  ASSERT_EQ(other.of(1).size(), 1u);
  EXPECT_EQ(other.of(1)[0].type, contract::InputsDone::kType) << "its copy is not needed";
  from_worker(last_job(), generated("seen"));
  EXPECT_EQ(other.answer<contract::Generated>(1).text, "seen");
  EXPECT_EQ(worker.count<contract::DetachArena>(), 1u);
  EXPECT_EQ(dispatched(), 1u);
}

TEST_F(KeysTest, AnotherRequestUnderTheKeyIsRefused) {
  send(client, 1, request);
  auto different = request;
  different.seed = 5;
  send(client, 2, different);
  EXPECT_EQ(client.error_code(2), "bad_request");
  EXPECT_EQ(client.terminals(1), 0u);
  from_worker(last_job(), generated("x"));
  send(client, 3, different);
  EXPECT_EQ(client.error_code(3), "bad_request");
  different = request;
  different.priority = "batch";  // how urgent it is does not change what is asked
  send(client, 4, different);
  client.answer<contract::Generated>(4);
  EXPECT_EQ(dispatched(), 1u);
}

TEST_F(KeysTest, KeysOfAnotherUserAreNoneOfOurs) {
  send(client, 1, request);
  from_worker(last_job(), generated("secret"));
  FakeClient stranger;
  stranger.id = broker->connect(stranger, Peer{4712, 1001});
  contract::Hello hello;
  hello.oldest = contract::kOldestProtocolVersion;
  hello.newest = contract::kProtocolVersion;
  send(stranger, 0, hello);
  hold_same_model(stranger, 1000);
  send(stranger, 1, request);
  EXPECT_EQ(stranger.terminals(1), 0u);
  EXPECT_EQ(dispatched(), 2u);
}

TEST_F(KeysTest, WhoeverMayNotUseTheModelGetsNoAnswerByItsKey) {
  send(client, 1, request);
  from_worker(last_job(), generated("words"));
  FakeClient other;
  connect(other);
  send(other, 1, request);
  EXPECT_EQ(other.error_code(1), "unknown_model");
}

TEST_F(KeysTest, ACancelledRequestRunsAnewWhenSentAgain) {
  send(client, 1, request);
  const JobId first = last_job();
  send(client, 1, contract::Cancel{});
  send(client, 2, request);
  contract::Error cancelled;
  cancelled.code = "cancelled";
  from_worker(first, cancelled);
  EXPECT_EQ(client.error_code(1), "cancelled");
  EXPECT_EQ(client.terminals(2), 0u);
  EXPECT_EQ(dispatched(), 2u);
  send(client, 3, request);  // the first one's end has not taken the key along
  EXPECT_EQ(client.error_code(2), "cancelled");
  from_worker(last_job(), generated("x"));
  client.answer<contract::Generated>(3);
  EXPECT_EQ(dispatched(), 2u);
}

TEST_F(KeysTest, TheEndOfAConnectionWhoseJobWasTakenOverChangesNothing) {
  send(client, 1, request);
  FakeClient other;
  join(other);
  send(other, 1, request);
  broker->disconnect(client.id);
  tick_after(Milliseconds(6'000));
  EXPECT_EQ(worker.count<contract::Cancel>(), 0u);
  from_worker(last_job(), generated("x"));
  other.answer<contract::Generated>(1);
}

TEST_F(KeysTest, AnEncodingThatRunsForAnotherConnectionIsCancelledAndRunsAnew) {
  contract::Encode encode;
  encode.model = model;
  encode.messages = request.messages;
  encode.layers = {-1};
  encode.key = "e";
  send(client, 1, encode);
  send(client, 2, encode);  // the same connection: the same memory
  EXPECT_EQ(client.error_code(1), "cancelled");
  EXPECT_EQ(worker.count<contract::Encode>(), 1u);
  FakeClient other;
  join(other);
  send(other, 1, encode);
  EXPECT_EQ(worker.count<contract::Cancel>(), 1u);
  EXPECT_EQ(worker.count<contract::Encode>(), 1u) << "two of a kind never run at once";
  contract::Error cancelled;
  cancelled.code = "cancelled";
  from_worker(worker.last<contract::Encode>().request_id, cancelled);
  EXPECT_EQ(client.error_code(2), "cancelled");
  EXPECT_EQ(worker.count<contract::Encode>(), 2u);
  EXPECT_EQ(other.terminals(1), 0u);
}

}  // namespace
}  // namespace hearth::broker
