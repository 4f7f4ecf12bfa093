// The one line that systemctl status shows.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class StatusLineTest : public BrokerTest {
 protected:
  void expect_said(const std::string& words) const {
    EXPECT_NE(broker->status_line().find(words), std::string::npos) << broker->status_line();
  }
  void expect_line(const std::string& line) const { EXPECT_EQ(broker->status_line(), line); }
  static constexpr std::uint64_t kGiB = 1ull << 30;
};

TEST_F(StatusLineTest, AnEngineOnItsWayIsSaid) {
  broker->start();
  expect_line("LISTENING: The engine is starting. 0 clients, 0 running, 0 waiting");
}

TEST_F(StatusLineTest, HealthModelsMemoryAndClientsAreSaid) {
  Config config;
  config.memory_bytes = 8 * kGiB;
  make_broker(config);
  FakeClient client;
  connect(client);
  start_worker(1);
  expect_line(
      "GPU_OK on cpu (a processor): 0 models, 0.0 of 8.0 GiB, 1 client, 0 running, 0 waiting");
  plan.weights_bytes = 5 * kGiB + kGiB / 10;
  const std::string model = hold_hot_model(client, 1);
  expect_line(
      "LOADED on cpu (a processor): 1 model, 5.1 of 8.0 GiB, 1 client, 0 running, 0 waiting");
  send(client, 3, request_for(model));
  send(client, 4, request_for(model));
  expect_said(" 1 client, 1 running, 1 waiting");
  from_worker(worker.last<contract::Generate>().request_id, generated("yes"));
  FakeClient other;
  connect(other);
  expect_line(
      "WARM on cpu (a processor): 1 model, 5.1 of 8.0 GiB, 2 clients, 1 running, 0 waiting");
}

TEST_F(StatusLineTest, MemoryWithoutABudgetIsSaidAlone) {
  start_worker();
  expect_line("GPU_OK on cpu (a processor): 0 models, 0.0 GiB, 0 clients, 0 running, 0 waiting");
}

TEST_F(StatusLineTest, AnEngineThatCannotStartIsSaidWithItsReason) {
  broker->start();
  broker->worker_cannot_start(fail(Code::kWorkerLost, "There is no libtorch.", "Bring one."));
  broker->worker_gone("it exited with status 127");
  expect_line(
      "FAILED: The engine does not start: There is no libtorch. Bring one. 0 clients, 0 running, 0 "
      "waiting");
}

TEST_F(StatusLineTest, ALostEngineIsCounted) {
  start_worker();
  broker->worker_gone("it was ended by Killed");
  expect_said("LISTENING: The engine was lost once and is being started again. 0 clients");
}

TEST_F(StatusLineTest, AHotDeviceIsSaid) {
  start_worker();
  auto& telemetry = const_cast<Core&>(broker->core()).telemetry;
  telemetry.device.throttled_by = {"hardware_thermal"};
  telemetry.device_at = timer.now();
  expect_said(
      "GPU_OK on cpu (a processor): The device's clock is held down: hardware_thermal. 0 models");
}

TEST_F(StatusLineTest, AModelThatIsRefusedIsCountedAndNotNamed) {
  FakeClient client;
  connect(client);
  start_worker();
  const std::string model = hold_model(client, 1, "secret");
  auto& quarantine = const_cast<Core&>(broker->core()).quarantine;
  for (int i = 0; i < Quarantine::kDeaths; ++i)
    quarantine.died(model, Op::kLoad, true, timer.now());
  expect_said(": 0 models, 1 refused, ");
  EXPECT_EQ(broker->status_line().find("secret"), std::string::npos);
}

TEST_F(StatusLineTest, AnEndIsSaid) {
  start_worker();
  broker->stop("the test is over");
  EXPECT_TRUE(broker->status_line().starts_with("LISTENING, stopping: 0 clients"))
      << broker->status_line();
}

}  // namespace
}  // namespace hearth::broker
