// The wire under real sockets: pieces, descriptors, rule breakers, slow readers, the end of a
// client.
#include <cstring>
#include <filesystem>
#include <thread>

#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "daemon/broker/net/channel.h"
#include "daemon/broker/net/session.h"
#include "tests/unit/broker_for_test.h"
#include "tests/unit/loop_for_test.h"

namespace hearth::broker {
namespace {

// One end is a Channel, the other a raw socket in the test's hands.
class ChannelTest : public testing::Test {
 protected:
  ChannelTest() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    peer = Fd(ends[1]);
    channel = std::make_unique<Channel>(UnixStream(loop, asio::local::stream_protocol(), ends[0]));
    asio::co_spawn(loop, read(), asio::detached);
    asio::co_spawn(loop, write(), asio::detached);
  }
  ~ChannelTest() override {
    channel->close();
    EXPECT_TRUE(run_until(loop, [&] { return reader_ended && writer_ended; }));
  }

  asio::awaitable<void> read() {
    for (;;) {
      InFrame frame;
      const Result<void> got = co_await channel->read(frame);
      if (!got) {
        end = got.error().code;
        break;
      }
      received.push_back(std::move(frame));
    }
    reader_ended = true;
  }
  asio::awaitable<void> write() {
    co_await channel->write();
    writer_ended = true;
  }

  static std::string bytes_of_frame(FrameHeader header, const std::string& body) {
    header.body_len = static_cast<std::uint32_t>(body.size());
    const FrameHeaderBytes bytes = encode(header);
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) + body;
  }
  void transmit(const std::string& bytes, const std::vector<int>& fds = {}) {
    std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
    }
    ASSERT_EQ(sendmsg(peer.get(), &message, 0), static_cast<ssize_t>(bytes.size()));
  }
  // Reads what the channel sends until it says no more.
  std::size_t drain(std::size_t at_least) {
    std::size_t total = 0;
    std::vector<char> buffer(1 << 20);
    run_until(loop, [&] {
      const ssize_t n = recv(peer.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n > 0) total += static_cast<std::size_t>(n);
      return total >= at_least;
    });
    return total;
  }
  static std::size_t open_descriptors() {
    std::size_t n = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
      ++n;
    return n;
  }

  asio::io_context loop;
  Fd peer;
  std::unique_ptr<Channel> channel;
  std::vector<InFrame> received;
  Code end = Code::kInternal;
  bool reader_ended = false;
  bool writer_ended = false;
};

TEST_F(ChannelTest, FramesArriveWhateverThePieces) {
  std::string bytes;
  for (std::uint32_t id = 1; id <= 3; ++id) {
    FrameHeader header;
    header.request_id = id;
    header.type = 6;
    bytes += bytes_of_frame(header, std::string(id, 'b'));
  }
  for (const char byte : bytes) {
    transmit(std::string(1, byte));
    loop.restart();
    loop.poll();
  }
  ASSERT_TRUE(run_until(loop, [&] { return received.size() == 3; }));
  EXPECT_EQ(received[2].request_id, 3u);
  EXPECT_EQ(received[2].body, "bbb");
}

TEST_F(ChannelTest, DescriptorsComeWithTheirOwnFrame) {
  FrameHeader plain;
  plain.type = 6;
  FrameHeader carrying;
  carrying.type = 16;
  carrying.n_fds = 2;
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  transmit(bytes_of_frame(plain, "first"));
  transmit(bytes_of_frame(carrying, "second"), {null.get(), null.get()});
  transmit(bytes_of_frame(plain, "third"));
  ASSERT_TRUE(run_until(loop, [&] { return received.size() == 3; }));
  EXPECT_TRUE(received[0].fds.empty());
  ASSERT_EQ(received[1].fds.size(), 2u);
  EXPECT_EQ(fcntl(received[1].fds[0].get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_TRUE(received[2].fds.empty());
}

TEST_F(ChannelTest, RuleBreakersEndWithAnErrorAndLeaveNoDescriptor) {
  const std::size_t before = open_descriptors();
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  FrameHeader header;
  header.type = 16;
  header.n_fds = 1;
  transmit(bytes_of_frame(header, "x"), {null.get(), null.get(), null.get()});
  ASSERT_TRUE(run_until(loop, [&] { return reader_ended; }));
  EXPECT_EQ(end, Code::kBadRequest);
  EXPECT_EQ(open_descriptors(), before + 1);
}

TEST_F(ChannelTest, MoreDescriptorsThanAFrameMayHaveEndTheConnection) {
  const std::size_t before = open_descriptors();
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  FrameHeader header;
  header.type = 16;
  header.n_fds = kMaxFrameFds;
  transmit(bytes_of_frame(header, "x"), std::vector<int>(253, null.get()));
  ASSERT_TRUE(run_until(loop, [&] { return reader_ended; }));
  EXPECT_EQ(end, Code::kBadRequest);
  EXPECT_EQ(open_descriptors(), before + 1);
}

TEST_F(ChannelTest, BodiesAreSmallBeforeTheWelcome) {
  FrameHeader header;
  header.type = 6;
  transmit(bytes_of_frame(header, std::string(kMaxGreetingBytes + 1, 'x')));
  ASSERT_TRUE(run_until(loop, [&] { return reader_ended; }));
  EXPECT_EQ(end, Code::kBadRequest);
}

TEST_F(ChannelTest, LargeBodiesArriveAfterwards) {
  channel->allow_large_frames();
  FrameHeader header;
  header.type = 6;
  const std::string frame = bytes_of_frame(header, std::string(kMaxFrameBytes, 'x'));
  std::thread sender([&] { transmit(frame); });
  EXPECT_TRUE(run_until(loop, [&] { return received.size() == 1; }));
  sender.join();
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].body.size(), kMaxFrameBytes);
}

TEST_F(ChannelTest, EndOfThePeerIsNoticed) {
  peer.reset();
  ASSERT_TRUE(run_until(loop, [&] { return reader_ended; }));
  EXPECT_EQ(end, Code::kNotReachable);
}

TEST_F(ChannelTest, NothingIsReadWhileThePeerDoesNotRead) {
  loop.poll();  // the reader waits for a frame
  std::size_t sent = 0;
  for (; sent < Outbox::kFullBytes + (1 << 20); sent += 100'000)
    channel->send(OutFrame{36, 1, std::string(100'000, 'x'), {}});
  FrameHeader header;
  header.type = 6;
  transmit(bytes_of_frame(header, "x"));  // it gets this one and looks at the outbox then
  transmit(bytes_of_frame(header, "y"));
  ASSERT_TRUE(run_until(loop, [&] { return received.size() == 1; }));
  loop.restart();
  loop.run_for(Milliseconds(30));
  EXPECT_EQ(received.size(), 1u);
  EXPECT_GE(drain(sent), sent);
  EXPECT_TRUE(run_until(loop, [&] { return received.size() == 2; }));
}

TEST_F(ChannelTest, TokensThatFollowEachOtherComeTogetherAndNothingOvertakesThem) {
  contract::Token word;
  std::string sent;
  for (int i = 0; i < 200; ++i) {
    word.text = std::to_string(i) + ' ';
    sent += word.text;
    channel->send(make_frame(1, word));
  }
  channel->send(make_frame(1, contract::Pong{}));  // does not wait, and takes them along
  std::string bytes(1 << 16, '\0');
  bytes.resize(static_cast<std::size_t>(recv(peer.get(), bytes.data(), bytes.size(), 0)));
  std::string text;
  int frames = 0;
  FrameHeader header;
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(FrameHeaderBytes) + header.body_len) {
    FrameHeaderBytes packed;
    std::memcpy(packed.data(), bytes.data() + at, packed.size());
    header = *decode_header(packed, kMaxFrameBytes);
    const std::string body = bytes.substr(at + packed.size(), header.body_len);
    if (auto token = contract::unpack<contract::Token>(bytes_of(body))) text += token->text;
    ++frames;
  }
  EXPECT_EQ(header.type, contract::Pong::kType);
  EXPECT_EQ(text, sent);
  EXPECT_LT(frames, 20);  // 3 where nothing holds this test up
}

TEST_F(ChannelTest, TokensAreSentThoughNothingFollows) {
  contract::Token word;
  word.text = "word";
  channel->send(make_frame(1, word));
  channel->send(make_frame(1, word));
  const std::size_t one = make_frame(1, word).body.size() + sizeof(FrameHeaderBytes);
  EXPECT_GE(drain(2 * one), 2 * one);
}

TEST_F(ChannelTest, APeerThatNeverReadsCostsNoMoreThanAFullOutboxAndIsGivenUp) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const Fd silent(ends[1]);
  Channel given_up(UnixStream(loop, asio::local::stream_protocol(), ends[0]), Milliseconds(200));
  bool reader_gone = false;
  bool writer_gone = false;
  // As the session does: every frame of the peer is answered, by 100 KB here.
  const auto answer_all = [&]() -> asio::awaitable<void> {
    InFrame frame;
    for (;;) {
      const Result<void> got = co_await given_up.read(frame);
      if (!got) break;
      given_up.send(OutFrame{36, 1, std::string(100'000, 'x'), {}});
    }
    reader_gone = true;
  };
  const auto write_all = [&]() -> asio::awaitable<void> {
    co_await given_up.write();
    writer_gone = true;
  };
  asio::co_spawn(loop, answer_all(), asio::detached);
  asio::co_spawn(loop, write_all(), asio::detached);
  FrameHeader header;
  header.type = 6;
  std::string requests;
  for (int i = 0; i < 200; ++i) requests += bytes_of_frame(header, "x");
  ASSERT_EQ(::send(silent.get(), requests.data(), requests.size(), 0),
            static_cast<ssize_t>(requests.size()));
  std::size_t most = 0;
  const TimePoint began = Clock::now();
  ASSERT_TRUE(run_until(loop, [&] {
    most = std::max(most, given_up.queued_bytes());
    return reader_gone && writer_gone;
  }));
  EXPECT_GE(Clock::now() - began, Milliseconds(200));
  EXPECT_GE(most, Outbox::kFullBytes);
  EXPECT_LE(most, Outbox::kFullBytes + 100'000 + kFrameHeaderBytes);
  // Others go on as before.
  transmit(bytes_of_frame(header, "y"));
  EXPECT_TRUE(run_until(loop, [&] { return received.size() == 1; }));
}

TEST_F(ChannelTest, WhatIsQueuedIsSentBeforeTheEnd) {
  const std::size_t n_bytes = 1 << 20;
  channel->send(OutFrame{36, 1, std::string(n_bytes, 'x'), {}});
  channel->close_when_sent();
  channel->send(OutFrame{36, 2, "late", {}});
  EXPECT_EQ(drain(n_bytes + kFrameHeaderBytes), n_bytes + kFrameHeaderBytes);
  ASSERT_TRUE(run_until(loop, [&] { return writer_ended && reader_ended; }));
  char byte = 0;
  EXPECT_EQ(recv(peer.get(), &byte, 1, MSG_DONTWAIT), 0);
}

TEST_F(ChannelTest, AnEndIsNotHeldUpByAPeerThatDoesNotRead) {
  channel->send(OutFrame{36, 1, std::string(2 << 20, 'x'), {}});
  channel->close_when_sent();
  EXPECT_TRUE(run_until(loop, [&] { return writer_ended && reader_ended; }));
}

TEST_F(ChannelTest, AnEndIsNotHeldUpByAPeerThatReadsALittle) {
  std::size_t sent = 0;
  for (; sent < Outbox::kFullBytes + (1 << 20); sent += 100'000)
    channel->send(OutFrame{36, 1, std::string(100'000, 'x'), {}});
  channel->close_when_sent();
  EXPECT_GE(drain(2 << 20), 2u << 20);  // the outbox is no longer full
  EXPECT_TRUE(run_until(loop, [&] { return writer_ended && reader_ended; }));
}

class SessionTest : public BrokerTest {
 protected:
  void begin(Fd end) {
    session = std::make_shared<Session>(
        UnixStream(loop, asio::local::stream_protocol(), end.release()), *broker, off_loop);
    session->start();
    EXPECT_EQ(broker->core().clients.size(), 1u);
  }
  void expect_end() {
    EXPECT_TRUE(run_until(loop, [&] { return broker->core().clients.empty(); }));
    EXPECT_FALSE(session->is_open());
  }

  asio::io_context loop;
  std::shared_ptr<Session> session;
};

TEST_F(SessionTest, AClientThatLeavesIsForgotten) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  Fd peer(ends[1]);
  begin(Fd(ends[0]));
  peer.reset();
  expect_end();
}

TEST_F(SessionTest, TheKernelSaysWhoIsThere) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  Fd peer(ends[1]);
  begin(Fd(ends[0]));
  const Peer& seen = broker->core().clients.begin()->second.peer;
  EXPECT_EQ(seen.pid, getpid());
  EXPECT_EQ(seen.uid, geteuid());
  ASSERT_FALSE(seen.groups.empty());
  EXPECT_EQ(seen.groups.front(), getegid());
  std::vector<gid_t> own(static_cast<std::size_t>(getgroups(0, nullptr)));
  ASSERT_EQ(getgroups(static_cast<int>(own.size()), own.data()), static_cast<int>(own.size()));
  EXPECT_EQ(std::vector<gid_t>(seen.groups.begin() + 1, seen.groups.end()), own);
  peer.reset();
  expect_end();
}

TEST_F(SessionTest, AClientWhoseProcessEndsIsForgottenThoughAnotherHoldsItsSocket) {
  int report[2];
  ASSERT_EQ(pipe2(report, O_CLOEXEC), 0);
  int numbers[2] = {-1, -1};
  // It shares our descriptors: its sockets stay when it ends.
  const auto child = static_cast<pid_t>(syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
  if (child == 0) {
    alarm(60);  // should the test end without it
    const bool made = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, numbers) == 0;
    if (made) (void)!write(report[1], numbers, sizeof(numbers));
    for (;;) pause();
  }
  ASSERT_GT(child, 0);
  ASSERT_EQ(read(report[0], numbers, sizeof(numbers)), ssize_t{sizeof(numbers)});
  const Fd held(numbers[1]);
  const Fd reading(report[0]);
  const Fd writing(report[1]);
  begin(Fd(numbers[0]));
  kill(child, SIGKILL);
  expect_end();
  waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace hearth::broker
