// Who may look after the service, and what everybody else hears.
#include "daemon/broker/rights.h"
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class RightsTest : public BrokerTest {
 protected:
  RightsTest() {
    Config config;
    config.admins = {1234};
    config.admin_group = 77;
    make_broker(config);
    start_worker();
  }
  bool may_administer(uid_t user, std::vector<gid_t> groups = {}) {
    FakeClient client;
    connect(client, true, user, std::move(groups));
    const bool may = status(client, 1).may_administer;
    broker->disconnect(client.id);
    return may;
  }
  template <class M>
  void expect_denied(const M& message) {
    send(client, ++last_id, message);
    const auto error = client.answer<contract::Error>(last_id);
    EXPECT_EQ(error.code, "denied") << contract::name_of_type(M::kType);
    EXPECT_NE(error.what.find("root, user 990"), std::string::npos) << error.what;
    EXPECT_NE(error.what.find("user 1234 and members of group 77"), std::string::npos);
    EXPECT_NE(error.what.find("this is user 1000"), std::string::npos);
  }
  FakeClient client;
  std::uint32_t last_id = 100;
};

TEST_F(RightsTest, RootTheServicesUserAndWhomTheSettingsNameAreAdministrators) {
  EXPECT_TRUE(may_administer(0));
  EXPECT_TRUE(may_administer(kServiceUser));
  EXPECT_TRUE(may_administer(1234));
  EXPECT_TRUE(may_administer(1000, {1000, 77}));
  EXPECT_TRUE(may_administer(1000, {77}));
  EXPECT_FALSE(may_administer(1000));
  EXPECT_FALSE(may_administer(1000, {1000, 78, 0}));
}

TEST_F(RightsTest, AGroupHasToBeNamed) {
  make_broker(Config{});
  EXPECT_FALSE(may_administer(1000, {0, 77}));
  EXPECT_FALSE(may_administer(1234));
}

TEST_F(RightsTest, APeerWhomTheKernelDoesNotKnowIsNobody) {
  FakeClient unknown;
  unknown.id = broker->connect(unknown, Peer{});
  EXPECT_FALSE(broker::may_administer(broker->core(), broker->core().clients.at(unknown.id)));
}

TEST_F(RightsTest, WhatIsForAdministratorsIsDeniedToOthersWithTheReason) {
  connect(client);
  const std::string model = hold_hot_model(client, 1);
  contract::KickClient kick;
  kick.connection = client.id;
  expect_denied(kick);
  contract::PinModel pin;
  pin.model = model;
  expect_denied(pin);
  expect_denied(contract::Drain{});
  expect_denied(contract::Suspend{});
  expect_denied(contract::Resume{});
  expect_denied(contract::ClearQuarantine{});
  EXPECT_EQ(status(client, 99).mode, "serving");
  EXPECT_FALSE(status(client, 98).models[0].pinned);
}

}  // namespace
}  // namespace hearth::broker
