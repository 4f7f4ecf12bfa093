// Greeting, request ids, what is refused, quotas.
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

class Greeting : public BrokerTest {};
class Requests : public BrokerTest {};

TEST_F(Greeting, HelloIsAnsweredWithLimitsAndVersion) {
  FakeClient client;
  connect(client);
  ASSERT_EQ(client.received.size(), 1u);
  const auto welcome = contract::unpack<contract::Welcome>(bytes_of(client.received[0].body));
  ASSERT_TRUE(welcome);
  EXPECT_EQ(welcome->version, contract::kProtocolVersion);
  EXPECT_EQ(welcome->limits.open_requests, 64u);
  EXPECT_EQ(welcome->schema_hash, contract::kSchemaHash);
  EXPECT_EQ(welcome->boot_id, "boot");
  EXPECT_TRUE(client.large_frames);
}

TEST_F(Greeting, AnythingBeforeHelloEndsTheConnection) {
  FakeClient client;
  connect(client, false);
  send(client, 1, contract::Ping{});
  EXPECT_EQ(client.connection_error(), "bad_request");
  EXPECT_TRUE(client.closed);
}

TEST_F(Greeting, HelloIsNoRequest) {
  FakeClient client;
  connect(client, false);
  contract::Hello hello;
  hello.oldest = contract::kOldestProtocolVersion;
  hello.newest = contract::kProtocolVersion;
  send(client, 5, hello);
  EXPECT_EQ(client.connection_error(), "bad_request");
}

TEST_F(Greeting, DescriptorsBeforeHelloAreClosedWhereTheyCannotBlock) {
  FakeClient client;
  connect(client, false);
  std::vector<Fd> fds;
  fds.emplace_back(::open("/dev/null", O_RDONLY));
  send(client, 1, contract::OfferModel{}, std::move(fds));
  EXPECT_EQ(client.connection_error(), "bad_request");
  EXPECT_EQ(off_loop.adopted, 1);
}

TEST_F(Greeting, MissingHelloEndsTheConnectionAfterTwoSeconds) {
  FakeClient silent;
  FakeClient greeted;
  connect(silent, false);
  connect(greeted);
  EXPECT_TRUE(timer.will_wake_by(timer.now() + Milliseconds(2000)));
  tick_after(Milliseconds(1900));
  EXPECT_FALSE(silent.closed);
  tick_after(Milliseconds(200));
  EXPECT_TRUE(silent.closed);
  EXPECT_FALSE(greeted.closed);
}

TEST_F(Greeting, ForeignVersionsAreNamedInTheError) {
  FakeClient client;
  connect(client, false);
  contract::Hello hello;
  hello.oldest = 70;
  hello.newest = 77;
  send(client, 0, hello);
  EXPECT_EQ(client.connection_error(), "version");
  const auto error = contract::unpack<contract::Error>(bytes_of(client.received.back().body));
  EXPECT_NE(error->what.find("77"), std::string::npos);
}

TEST_F(Greeting, NobodyIsWelcomedOnceTheServiceHasStopped) {
  broker->stop("test");
  ASSERT_TRUE(broker->is_stopped());
  FakeClient client;
  connect(client, false);
  contract::Hello hello;
  hello.oldest = contract::kOldestProtocolVersion;
  hello.newest = contract::kProtocolVersion;
  send(client, 0, hello);
  EXPECT_EQ(client.connection_error(), "shutting_down");
}

TEST_F(Greeting, SecondHelloIsRefused) {
  FakeClient client;
  connect(client);
  contract::Hello hello;
  hello.newest = 1;
  send(client, 0, hello);
  EXPECT_EQ(client.connection_error(), "bad_request");
}

TEST_F(Greeting, OneConnectionTooManyIsToldSo) {
  Config config;
  config.connections = 2;
  make_broker(config);
  FakeClient a;
  FakeClient b;
  FakeClient c;
  connect(a);
  connect(b);
  connect(c, false);
  EXPECT_EQ(c.connection_error(), "busy");
  EXPECT_TRUE(c.closed);
  broker->disconnect(a.id);
  FakeClient d;
  connect(d);
  EXPECT_FALSE(d.closed);
}

TEST_F(Requests, AStatusReportListsNoMoreClientsThanAFrameHolds) {
  constexpr std::size_t kListed = 512;
  Config config;
  config.connections = 2 * kListed;
  make_broker(config);
  std::deque<FakeClient> clients(kListed + 1);
  uid_t user = 2000;
  for (FakeClient& each : clients) connect(each, true, ++user);
  const contract::StatusReport report = status(clients.back(), 1);
  EXPECT_EQ(report.clients.size(), kListed);
  EXPECT_EQ(report.clients.front().connection, clients.back().id) << "whoever asks comes first";
}

TEST_F(Requests, PingIsAnsweredWithoutAWorker) {
  FakeClient client;
  connect(client);
  send(client, 7, contract::Ping{});
  client.answer<contract::Pong>(7);
}

TEST_F(Requests, RequestIdZeroEndsTheConnection) {
  FakeClient client;
  connect(client);
  send(client, 0, contract::Ping{});
  EXPECT_EQ(client.connection_error(), "bad_request");
}

TEST_F(Requests, ReuseOfALiveIdEndsTheConnectionAndNotTheRequestTwice) {
  FakeClient client;
  connect(client);
  contract::ArenaAsk ask;
  ask.nbytes = 65536;
  send(client, 5, ask);
  send(client, 5, contract::Ping{});
  EXPECT_EQ(client.connection_error(), "bad_request");
  off_loop.run_all();
  EXPECT_EQ(client.terminals(5), 0u);
  EXPECT_EQ(broker->core().arena_bytes_asked, 0u);
}

TEST_F(Requests, AnIdMayBeUsedAgainAfterItsEnd) {
  FakeClient client;
  connect(client);
  send(client, 5, contract::Ping{});
  send(client, 5, contract::Ping{});
  EXPECT_EQ(client.of(5).size(), 2u);
  EXPECT_FALSE(client.closed);
}

TEST_F(Requests, UnknownTypesAreAnsweredAndTheThirdInARowEndsTheConnection) {
  FakeClient client;
  connect(client);
  const auto unknown = [&](std::uint32_t id) {
    broker->receive(client.id, InFrame{200, id, "\x80", {}});
  };
  unknown(1);
  unknown(2);
  EXPECT_EQ(client.error_code(1), "unknown_message");
  EXPECT_EQ(client.error_code(2), "unknown_message");
  send(client, 3, contract::Ping{});
  unknown(4);
  unknown(5);
  EXPECT_FALSE(client.closed);
  unknown(6);
  EXPECT_EQ(client.connection_error(), "unknown_message");
  EXPECT_TRUE(client.closed);
}

TEST_F(Requests, MessagesBetweenBrokerAndWorkerAreRefusedFromAClient) {
  FakeClient client;
  connect(client);
  start_worker();
  const std::size_t sent = worker.sent.size();
  send(client, 1, contract::StopWorker{});
  contract::DetachModel detach;
  detach.model = "x";
  send(client, 2, detach);
  EXPECT_EQ(client.error_code(1), "bad_request");
  EXPECT_EQ(client.error_code(2), "bad_request");
  EXPECT_EQ(worker.sent.size(), sent);
}

TEST_F(Requests, DescriptorsWithAMessageThatCarriesNoneEndTheConnection) {
  FakeClient client;
  connect(client);
  std::vector<Fd> fds;
  fds.emplace_back(::open("/dev/null", O_RDONLY));
  send(client, 1, contract::Ping{}, std::move(fds));
  EXPECT_EQ(client.connection_error(), "bad_request");
  EXPECT_EQ(off_loop.adopted, 1);  // closed where it cannot block the loop
}

TEST_F(Requests, BrokenBodiesAreAnsweredUnderTheirId) {
  FakeClient client;
  connect(client);
  for (const std::string& body :
       {std::string("\xdd\xff\xff\xff\xff", 5), std::string("\x81\xa1z\x01"), std::string("")}) {
    broker->receive(client.id, InFrame{contract::ArenaAsk::kType, 9, body, {}});
  }
  EXPECT_EQ(client.of(9).size(), 3u);
  for (const OutFrame& frame : client.of(9))
    EXPECT_EQ(contract::unpack<contract::Error>(bytes_of(frame.body))->code, "bad_request");
  EXPECT_FALSE(client.closed);
}

TEST_F(Requests, OneOpenRequestTooManyIsBusyAndLaterWelcome) {
  Config config;
  config.limits.open_requests = 2;
  make_broker(config);
  FakeClient client;
  connect(client);
  contract::ArenaAsk ask;
  ask.nbytes = 65536;
  for (const std::uint32_t id : {1u, 2u, 3u}) send(client, id, ask);
  const auto error = client.answer<contract::Error>(3);
  EXPECT_EQ(error.code, "busy");
  EXPECT_TRUE(error.retryable);
  EXPECT_GT(error.retry_after_ms, 0u);
  off_loop.run_all();
  EXPECT_EQ(client.terminals(1) + client.terminals(2), 2u);
  send(client, 4, ask);
  off_loop.run_all();
  client.answer<contract::ArenaGrant>(4);
}

TEST_F(Requests, CancelOfNothingIsIgnored) {
  FakeClient client;
  connect(client);
  send(client, 0, contract::Cancel{});
  send(client, 99, contract::Cancel{});
  EXPECT_EQ(client.received.size(), 1u);
  EXPECT_FALSE(client.closed);
}

TEST_F(Requests, LongErrorsAreCutBetweenCharacters) {
  std::string text(4095, 'x');
  text += "ä";
  const contract::Error message = to_message(fail(Code::kInternal, text), 0);
  EXPECT_EQ(message.what.size(), 4095u);
  EXPECT_EQ(printable("a\nb\x1b[31m"), "a?b?[31m");
}

}  // namespace
}  // namespace hearth::broker
