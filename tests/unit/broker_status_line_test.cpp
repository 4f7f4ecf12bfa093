// The one line that systemctl status shows.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class StatusLineTest : public BrokerTest {
 protected:
  void expect_said(const std::string& words) const {
    EXPECT_NE(broker->status_line().find(words), std::string::npos) << broker->status_line();
  }
};

TEST_F(StatusLineTest, AnEngineOnItsWayIsSaid) {
  broker->start();
  expect_said("the engine is starting: 0 models loaded, 0 requests running, 0 waiting");
}

TEST_F(StatusLineTest, DeviceModelsAndRequestsAreCounted) {
  FakeClient client;
  connect(client);
  start_worker(1);
  EXPECT_TRUE(broker->status_line().starts_with("ready on ")) << broker->status_line();
  const std::string model = hold_hot_model(client, 1);
  expect_said(": 1 model loaded, 0 requests running, 0 waiting");
  send(client, 2, request_for(model));
  send(client, 3, request_for(model));
  expect_said(": 1 model loaded, 1 request running, 1 waiting");
}

TEST_F(StatusLineTest, AnEngineThatCannotStartIsSaidWithItsReason) {
  broker->start();
  broker->worker_cannot_start(fail(Code::kWorkerLost, "There is no libtorch.", "Bring one."));
  broker->worker_gone("it exited with status 127");
  expect_said("the engine cannot start: There is no libtorch.");
}

TEST_F(StatusLineTest, ALostEngineIsCounted) {
  start_worker();
  broker->worker_gone("it was ended by Killed");
  expect_said("the engine ended and is started again");
}

TEST_F(StatusLineTest, AnEndIsSaid) {
  start_worker();
  broker->stop("the test is over");
  EXPECT_TRUE(broker->status_line().starts_with("stopping: ")) << broker->status_line();
}

}  // namespace
}  // namespace hearth::broker
