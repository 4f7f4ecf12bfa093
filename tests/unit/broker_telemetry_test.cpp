// What the broker remembers of requests, models and faults, and what it tells of that.

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <sys/stat.h>
#include <unistd.h>

#include "daemon/broker/health.h"
#include "daemon/broker/observe.h"
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class TelemetryTest : public BrokerTest {
 protected:
  contract::RequestList requests(FakeClient& of, std::uint32_t id) {
    send(of, id, contract::ListRequests{});
    return of.answer<contract::RequestList>(id);
  }
  std::string metrics(FakeClient& of, std::uint32_t id) {
    send(of, id, contract::Metrics{});
    return of.answer<contract::MetricsText>(id).text;
  }
  void answer_last(contract::Generated reply = generated("yes")) {
    from_worker(worker.last<contract::Generate>().request_id, reply);
  }
  static bool has(const std::string& text, const std::string& line) {
    return text.find("\n" + line + "\n") != std::string::npos;
  }
  // Of another user than the one who runs this test.
  static constexpr uid_t kUser = 54'321;

  FakeClient client;
};

TEST_F(TelemetryTest, AnAnswerLeavesARecordWithItsReceiptAndNumber) {
  connect(client, true, kUser);
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  send(client, 3, request_for(model));
  timer.pass(Milliseconds(250));
  contract::Generated reply = generated("yes");
  reply.receipt.decode_ms = 100;
  reply.receipt.generated_tokens = 7;
  answer_last(reply);
  const auto receipt = client.answer<contract::Generated>(3).receipt;
  const auto list = requests(client, 4);
  ASSERT_EQ(list.requests.size(), 2u);  // and the load
  const contract::RequestRecord& record = list.requests[0];
  EXPECT_EQ(record.request, receipt.request);
  EXPECT_GT(record.request, 0u);
  EXPECT_EQ(record.kind, "generate");
  EXPECT_EQ(record.name, "a");
  EXPECT_EQ(record.client, "test");
  EXPECT_EQ(record.uid, kUser);
  EXPECT_EQ(record.code, "");
  EXPECT_DOUBLE_EQ(record.receipt.total_ms, 250);
  EXPECT_EQ(record.receipt.generated_tokens, 7u);
  EXPECT_FALSE(record.is_cold);
  EXPECT_EQ(list.requests[1].kind, "load");
}

TEST_F(TelemetryTest, AnErrorIsRecordedWithWhatIsKnown) {
  connect(client, true, kUser);
  start_worker(1);
  const std::string model = hold_hot_model(client, 1);
  send(client, 3, request_for(model));
  send(client, 4, request_for(model));
  timer.pass(Milliseconds(40));
  broker->worker_gone("for a test");
  const auto list = requests(client, 5);
  ASSERT_EQ(list.requests.size(), 3u);
  const contract::RequestRecord& waiting = list.requests[0];
  EXPECT_EQ(waiting.code, "worker_lost");
  EXPECT_NE(waiting.what.find("for a test"), std::string::npos);
  EXPECT_DOUBLE_EQ(waiting.receipt.queue_ms, 40);
  EXPECT_DOUBLE_EQ(list.requests[1].receipt.queue_ms, 0);
  EXPECT_EQ(waiting.name, "a");
}

TEST_F(TelemetryTest, RefusedRequestsAreRecordedAndTheirWordsAreNot) {
  connect(client, true, kUser);
  start_worker();
  send(client, 3, request_for("my secret"));
  const auto list = requests(client, 4);
  ASSERT_EQ(list.requests.size(), 1u);
  EXPECT_EQ(list.requests[0].code, "unknown_model");
  EXPECT_EQ(list.requests[0].what.find("secret"), std::string::npos) << list.requests[0].what;
  const auto report = status(client, 5);
  ASSERT_EQ(report.last_errors.size(), 1u);
  EXPECT_EQ(report.last_errors[0].what.find("secret"), std::string::npos);
}

TEST_F(TelemetryTest, ACancelledRequestIsNoError) {
  connect(client, true, kUser);
  start_worker(1);
  const std::string model = hold_hot_model(client, 1);
  send(client, 3, request_for(model));
  send(client, 4, request_for(model));
  send(client, 4, contract::Cancel{});
  EXPECT_EQ(requests(client, 5).requests[0].code, "cancelled");
  EXPECT_TRUE(status(client, 6).last_errors.empty());
}

TEST_F(TelemetryTest, WhatAClientLeftOpenEndsWithIt) {
  FakeClient other;
  connect(client, true, kUser);
  connect(other, true, kUser);
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  send(client, 3, request_for(model));
  broker->disconnect(client.id);
  const auto list = requests(other, 1);
  ASSERT_FALSE(list.requests.empty());
  EXPECT_EQ(list.requests[0].code, "cancelled");
  answer_last();  // too late
  EXPECT_EQ(requests(other, 2).requests.size(), list.requests.size());
}

TEST_F(TelemetryTest, UsersSeeTheirOwnAndAdministratorsAll) {
  FakeClient other;
  FakeClient root;
  connect(client, true, kUser);
  connect(other, true, kUser + 1);
  connect(root, true, 0);
  start_worker();
  send(client, 3, request_for("a"));
  EXPECT_TRUE(requests(other, 1).requests.empty());
  EXPECT_TRUE(status(other, 2).last_errors.empty());
  EXPECT_EQ(requests(root, 1).requests.size(), 1u);
  EXPECT_EQ(status(root, 2).last_errors.size(), 1u);
}

TEST_F(TelemetryTest, AColdRequestNamesWhoLeftForIt) {
  Config config;
  config.memory_bytes = 1500;
  make_broker(config);
  plan.weights_bytes = 1000;
  connect(client, true, kUser);
  start_worker();
  const std::string first = hold_hot_model(client, 1, "first");
  const std::string second = hold_model(client, 3, "second");
  send(client, 4, request_for(second));
  timer.pass(Milliseconds(10));
  finish_unload();
  timer.pass(Milliseconds(30));
  finish_load();
  answer_last();
  const auto receipt = client.answer<contract::Generated>(4).receipt;
  EXPECT_EQ(receipt.evicted, std::vector<std::string>{"first"});
  const auto record = requests(client, 5).requests[0];
  EXPECT_TRUE(record.is_cold);
  EXPECT_EQ(record.receipt.evicted, receipt.evicted);
  const std::string text = metrics(client, 6);
  EXPECT_TRUE(has(text, "hearth_evictions_total{to=\"cold\"} 1")) << text;
  EXPECT_TRUE(has(text, "hearth_model_loads_total{from=\"files\"} 2")) << text;
  EXPECT_TRUE(has(text, "hearth_first_token_seconds_count{start=\"cold\"} 1")) << text;
  send(client, 7, request_for(second));
  answer_last();
  EXPECT_TRUE(client.answer<contract::Generated>(7).receipt.evicted.empty());
}

TEST_F(TelemetryTest, AnAnswerGivenAgainTakesNoTimeOfItsOwn) {
  connect(client, true, kUser);
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  contract::Generate message = request_for(model);
  message.result_key = "k";
  send(client, 3, message);
  contract::Generated reply = generated("yes");
  reply.receipt.decode_ms = 100;
  answer_last(reply);
  send(client, 4, message);
  const auto again = client.answer<contract::Generated>(4).receipt;
  EXPECT_TRUE(again.replayed);
  EXPECT_GT(again.request, client.answer<contract::Generated>(3).receipt.request);
  EXPECT_DOUBLE_EQ(requests(client, 5).requests[0].receipt.decode_ms, 0);
  EXPECT_TRUE(
      has(metrics(client, 6), "hearth_phase_seconds_count{op=\"generate\",phase=\"decode\"} 1"));
}

TEST_F(TelemetryTest, MetricsCountRequestsTokensAndGaps) {
  connect(client, true, kUser);
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  send(client, 3, request_for(model));
  contract::Generated reply = generated("yes");
  reply.receipt.generated_tokens = 3;
  reply.receipt.prompt_tokens = 9;
  reply.receipt.cached_tokens = 4;
  const std::int32_t gaps_us[] = {0, 3000, 40'000};
  reply.token_us.assign(reinterpret_cast<const char*>(gaps_us), sizeof(gaps_us));
  answer_last(reply);
  const std::string text = metrics(client, 4);
  EXPECT_TRUE(has(text, "hearth_requests_total{op=\"generate\",model=\"a\",code=\"ok\"} 1"))
      << text;
  EXPECT_TRUE(has(text, "hearth_generated_tokens_total{model=\"a\"} 3"));
  EXPECT_TRUE(has(text, "hearth_prompt_tokens_total{model=\"a\"} 9"));
  EXPECT_TRUE(has(text, "hearth_cached_prompt_tokens_total{model=\"a\"} 4"));
  EXPECT_TRUE(has(text, "hearth_token_gap_seconds_count 2"));
  EXPECT_TRUE(has(text, "hearth_token_gap_seconds_bucket{le=\"0.005\"} 1"));
  EXPECT_TRUE(has(text, "hearth_token_gap_seconds_bucket{le=\"0.05\"} 2"));
  EXPECT_TRUE(has(text, "hearth_models{state=\"hot\"} 1"));
  EXPECT_TRUE(has(text, "hearth_connections{uid=\"54321\"} 1"));
  EXPECT_EQ(status(client, 5).generated_tokens, 3u);
}

TEST_F(TelemetryTest, FramesAgainstTheRulesAreCountedByKind) {
  FakeClient silent;
  connect(client, true, kUser);
  connect(silent, false, kUser);
  broker->receive(client.id, InFrame{contract::Generate::kType, 1, "no message", {}});
  broker->receive(client.id, InFrame{250, 2, "", {}});
  tick_after(Milliseconds(5000));
  broker->violated(client.id, fail(Code::kBadRequest, "no magic"));
  FakeClient reader;
  connect(reader, true, kUser);
  const std::string text = metrics(reader, 1);
  for (const char* kind : {"message", "unknown", "silent", "wire"})
    EXPECT_TRUE(has(text, std::string("hearth_protocol_errors_total{kind=\"") + kind + "\"} 1"))
        << kind << text;
}

TEST_F(TelemetryTest, AnEndOfTheEngineIsCountedAndToldToEverybody) {
  connect(client, true, kUser);
  start_worker();
  broker->worker_gone("it was ended by a test");
  const auto report = status(client, 1);
  ASSERT_EQ(report.last_errors.size(), 1u);
  EXPECT_EQ(report.last_errors[0].code, "worker_lost");
  EXPECT_TRUE(metrics(client, 2).find("hearth_worker_restarts_total{reason=\"died\"} 1") !=
              std::string::npos);
}

TEST_F(TelemetryTest, ALongInputIsAStallAndAShortOneIsNot) {
  connect(client, true, kUser);
  Core& core = const_cast<Core&>(broker->core());
  {
    const InputWatch outer(core, "status");
    const InputWatch inner(core, "tick");
    timer.pass(Milliseconds(20));
  }
  EXPECT_TRUE(has(metrics(client, 1), "hearth_loop_stalls_total 0"));
  {
    const InputWatch outer(core, "status");
    const InputWatch inner(core, "tick");
    timer.pass(Milliseconds(50));
  }
  const std::string text = metrics(client, 2);
  EXPECT_TRUE(has(text, "hearth_loop_stalls_total 1")) << text;
  EXPECT_TRUE(has(text, "hearth_loop_stall_seconds_total 0.05")) << text;
}

TEST_F(TelemetryTest, TheFileIsReplacedWholeEveryFiveSeconds) {
  Config config;
  config.metrics_file = folder.path() + "/hearth.prom";
  make_broker(config);
  start_worker();
  off_loop.run_all();
  std::ifstream file(config.metrics_file);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_NE(text.str().find("hearth_health_level 1\n"), std::string::npos);
  struct stat found = {};
  ASSERT_EQ(stat(config.metrics_file.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0644u);
  std::filesystem::remove(config.metrics_file);
  tick_after(Milliseconds(4000));
  off_loop.run_all();
  EXPECT_FALSE(std::filesystem::exists(config.metrics_file));
  EXPECT_TRUE(timer.will_wake_by(timer.now() + Milliseconds(1000)));
  tick_after(Milliseconds(1000));
  off_loop.run_all();
  EXPECT_TRUE(std::filesystem::exists(config.metrics_file));
  EXPECT_FALSE(std::filesystem::exists(config.metrics_file + ".new"));
}

TEST_F(TelemetryTest, AFileThatCannotBeWrittenHoldsNothingUp) {
  Config config;
  config.metrics_file = folder.path() + "/none/hearth.prom";
  make_broker(config);
  start_worker();
  off_loop.run_all();
  EXPECT_TRUE(broker->core().telemetry.metrics_failing);
  EXPECT_EQ(broker->core().telemetry.metrics_writing, 0u);
}

class HealthTest : public TelemetryTest {
 protected:
  std::string level() { return std::string(name_of(health().level)); }
  Health health() { return health_of(const_cast<Core&>(broker->core())); }
  std::string reasons() {
    std::string all;
    for (const std::string& reason : health().reasons) all += reason + "\n";
    return all;
  }
};

TEST_F(HealthTest, RisesFromListeningToWarm) {
  connect(client, true, kUser);
  EXPECT_EQ(level(), "listening");
  broker->start();
  EXPECT_NE(reasons().find("is starting"), std::string::npos) << reasons();
  worker_is_ready();
  EXPECT_EQ(level(), "gpu_ok");
  EXPECT_NE(reasons().find("No model is loaded"), std::string::npos) << reasons();
  const std::string model = hold_hot_model(client, 1);
  EXPECT_EQ(level(), "loaded");
  EXPECT_NE(reasons().find("has answered"), std::string::npos) << reasons();
  send(client, 3, request_for(model));
  answer_last();
  EXPECT_EQ(level(), "warm");
  EXPECT_EQ(reasons(), "");
  EXPECT_EQ(status(client, 4).health, "warm");
}

TEST_F(HealthTest, ALostEngineIsSaidAndTheNextOneIsNotWarmAtOnce) {
  connect(client, true, kUser);
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  send(client, 3, request_for(model));
  answer_last();
  broker->worker_gone("for a test");
  EXPECT_EQ(level(), "listening");
  EXPECT_NE(reasons().find("lost once"), std::string::npos) << reasons();
  tick_after(Milliseconds(60'000));
  worker_is_ready();
  contract::LoadModel load;
  load.model = model;
  send(client, 4, load);
  recognise();
  finish_load();
  EXPECT_EQ(level(), "loaded");
}

TEST_F(HealthTest, AnEngineThatRefusesToStartIsFailedWithItsWords) {
  connect(client, true, kUser);
  broker->start();
  contract::Error error;
  error.code = "unsupported";
  error.what = "The driver is too old, see /home/anna/driver.log.";
  from_worker(0, error);
  broker->worker_gone("it exited");
  EXPECT_EQ(level(), "failed");
  EXPECT_NE(reasons().find("The driver is too old"), std::string::npos) << reasons();
  EXPECT_EQ(reasons().find("anna"), std::string::npos) << reasons();
}

TEST_F(HealthTest, ADrainedServiceSaysHowToGoOn) {
  connect(client, true, 0);
  start_worker();
  send(client, 3, contract::Drain{});
  EXPECT_NE(reasons().find("is drained"), std::string::npos) << reasons();
  EXPECT_NE(reasons().find("hearth resume"), std::string::npos) << reasons();
}

TEST_F(HealthTest, QuarantinedModelsAreNamed) {
  connect(client, true, kUser);
  start_worker();
  const std::string model = hold_hot_model(client, 1, "killer");
  for (std::uint32_t i = 0; i < 2; ++i) {
    send(client, 10 + i, request_for(model));
    if (i == 1) recognise();
    if (i == 1) finish_load();
    broker->worker_gone("for a test");
    tick_after(Milliseconds(60'000));
    worker_is_ready();
  }
  EXPECT_NE(reasons().find("killer is refused"), std::string::npos) << reasons();
}

TEST_F(HealthTest, AHotDeviceIsAReasonForAMinute) {
  connect(client, true, kUser);
  start_worker();
  const std::string model = hold_hot_model(client, 1);
  send(client, 3, request_for(model));
  contract::Generated reply = generated("yes");
  reply.receipt.device_state.source = "nvml";
  reply.receipt.device_state.throttled_by = {"thermal", "power_cap"};
  answer_last(reply);
  EXPECT_EQ(reasons(), "The device's clock is held down: thermal.\n");
  EXPECT_TRUE(has(metrics(client, 4), "hearth_device_throttled{reason=\"thermal\"} 1"));
  timer.pass(Milliseconds(61'000));
  EXPECT_EQ(reasons(), "");
}

// Two clocks that run differently, as across a machine's sleep, would show another start each time.
TEST_F(TelemetryTest, TheTimeOfTheStartIsTheSameWhateverClocksDo) {
  connect(client);
  const_cast<Core&>(broker->core()).started_unix_ms = 1'700'000'000'250;
  for (const std::uint32_t id : {1u, 2u}) {
    EXPECT_TRUE(has(metrics(client, id), "hearth_start_time_seconds 1700000000.25"));
    timer.pass(std::chrono::hours(8));
  }
}

}  // namespace
}  // namespace hearth::broker
