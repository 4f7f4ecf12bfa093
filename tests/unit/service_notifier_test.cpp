// What systemd is told, heard through a socket of the test's own.
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/service/notifier.h"
#include "shm/base/fd.h"

namespace hearth::service {
namespace {

using std::chrono::milliseconds;

// Plays systemd: a datagram socket of the abstract namespace, named in the environment.
class NotifierTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = fmt::format("@hearth-notify-{}", getpid());
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name.data() + 1, name.size() - 1);
    socket_ = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    ASSERT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
  }
  void TearDown() override { unsetenv("NOTIFY_SOCKET"); }

  // The next message, "" when there is none.
  std::string heard() const {
    char text[4096];
    const ssize_t n = recv(socket_.get(), text, sizeof(text), 0);
    return n > 0 ? std::string(text, static_cast<std::size_t>(n)) : "";
  }

  Fd socket_;
  const Clock::time_point start_ = Clock::time_point(std::chrono::hours(1));
};

TEST_F(NotifierTest, WithoutAListenerNothingIsSent) {
  unsetenv("NOTIFY_SOCKET");
  setenv("WATCHDOG_USEC", "1000000", 1);
  Notifier notifier;
  EXPECT_FALSE(notifier.is_heard());
  EXPECT_EQ(notifier.ping_every().count(), 0);
  notifier.ready("idle");
  notifier.tick(start_, true, "busy");
  EXPECT_EQ(heard(), "");
}

TEST_F(NotifierTest, WordsOfTheProtocolAreExact) {
  Notifier notifier;
  notifier.needs(milliseconds(30'000));
  EXPECT_EQ(heard(), "EXTEND_TIMEOUT_USEC=30000000\n");
  notifier.ready("idle");
  EXPECT_EQ(heard(), "READY=1\nSTATUS=idle\n");
  notifier.stopping("2 open", milliseconds(1500));
  EXPECT_EQ(heard(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=1500000\nSTATUS=2 open\n");
  notifier.reloading();
  const std::string reload = heard();
  EXPECT_TRUE(reload.starts_with("RELOADING=1\nMONOTONIC_USEC=")) << reload;
  EXPECT_EQ(heard(), "");
}

// In this order: a ping sets the watchdog to its usual time, which the extension then moves.
TEST_F(NotifierTest, WhatNeedsTimeHasItFromTheWatchdogToo) {
  setenv("WATCHDOG_USEC", "30000000", 1);
  Notifier notifier;
  notifier.needs(milliseconds(60'000));
  EXPECT_EQ(heard(), "WATCHDOG=1\n");
  EXPECT_EQ(heard(), "EXTEND_TIMEOUT_USEC=60000000\n");
  EXPECT_EQ(heard(), "");
}

TEST_F(NotifierTest, PingsComeAtHalfOfWhatTheUnitAllows) {
  setenv("WATCHDOG_USEC", "30000000", 1);
  Notifier notifier;
  EXPECT_EQ(notifier.ping_every(), std::chrono::seconds(15));
  notifier.ready("idle");
  heard();
  int pings = 0;
  for (Clock::time_point now = start_; now < start_ + std::chrono::seconds(60);) {
    now = notifier.tick(now, true, "idle");
    if (heard() == "WATCHDOG=1\n") ++pings;
  }
  EXPECT_EQ(pings, 4);
}

TEST_F(NotifierTest, AWatchdogOfAFewMillisecondsIsServedInTime) {
  setenv("WATCHDOG_USEC", "100000", 1);
  Notifier notifier;
  notifier.ready("idle");
  const auto next = notifier.tick(start_, true, "idle");
  EXPECT_LE(next - start_, milliseconds(50));
}

TEST_F(NotifierTest, WatchdogOfAnotherProcessIsNotOurs) {
  setenv("WATCHDOG_USEC", "30000000", 1);
  setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(Notifier().ping_every().count(), 0);
}

TEST_F(NotifierTest, UnhealthyServiceIsNotPingedForAndAHealthyOneAtOnce) {
  setenv("WATCHDOG_USEC", "30000000", 1);
  Notifier notifier;
  notifier.ready("idle");
  heard();
  auto now = start_;
  for (int i = 0; i < 100; ++i) now = notifier.tick(now, false, "idle");
  EXPECT_EQ(heard(), "");
  notifier.tick(now, true, "idle");
  EXPECT_EQ(heard(), "WATCHDOG=1\n");
}

TEST_F(NotifierTest, StatusIsToldWhenItChangesAndOnceASecondAtMost) {
  Notifier notifier;
  notifier.ready("idle");
  heard();
  notifier.tick(start_, true, "idle");
  EXPECT_EQ(heard(), "");
  notifier.tick(start_, true, "1 running");
  EXPECT_EQ(heard(), "STATUS=1 running\n");
  notifier.tick(start_ + milliseconds(10), true, "2 running");
  EXPECT_EQ(heard(), "") << "ten milliseconds later";
  const auto next = notifier.tick(start_ + milliseconds(1000), true, "3 running");
  EXPECT_EQ(heard(), "STATUS=3 running\n");
  EXPECT_EQ(next, start_ + milliseconds(2000));
}

// The words of a driver's error reach the status; a line break in them must not become a word of
// the protocol.
TEST_F(NotifierTest, StatusStaysOneLine) {
  Notifier notifier;
  notifier.ready("bad driver\nMAINPID=1");
  EXPECT_EQ(heard(), "READY=1\nSTATUS=bad driver MAINPID=1\n");
}

}  // namespace
}  // namespace hearth::service
