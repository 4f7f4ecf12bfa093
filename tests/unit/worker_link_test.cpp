// The link under a slow broker, and under a broken one.

#include <cstring>
#include <numeric>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/worker/link.h"
#include "tests/unit/generate_for_test.h"
#include "tests/unit/worker_for_test.h"

namespace hearth::worker {
namespace {

std::string packed(std::int32_t id) {
  std::string bytes(sizeof id, '\0');
  std::memcpy(bytes.data(), &id, sizeof id);
  return bytes;
}

// Fills the socket until tokens must wait, then reads everything.
TEST(Link, GrowsTokensTogetherWhileTheSocketIsFull) {
  SocketPair sockets = make_sockets();
  Link worker(std::move(sockets.worker));
  Link broker(std::move(sockets.broker));
  constexpr std::int32_t kTokens = 50000;
  for (std::int32_t id = 0; id < kTokens; ++id) {
    contract::Token piece;
    piece.text = std::string(1, static_cast<char>('a' + id % 26));
    piece.token_ids = packed(id);
    worker.send_token(1 + id % 2, std::move(piece));
  }
  worker.send(1, contract::InputsDone{});
  std::string text[3];
  std::vector<std::int32_t> ids[3];
  int frames = 0;
  for (;; ++frames) {
    auto frame = broker.read();
    ASSERT_TRUE(frame && *frame);
    if ((*frame)->header.type == contract::InputsDone::kType) break;
    const auto token = contract::unpack<contract::Token>((*frame)->body);
    ASSERT_TRUE(token);
    const std::uint32_t request = (*frame)->header.request_id;
    text[request] += token->text;
    for (const std::int32_t id : generate::ids_in(token->token_ids)) ids[request].push_back(id);
  }
  EXPECT_LT(frames, kTokens / 10);
  EXPECT_EQ(ids[1].size() + ids[2].size(), static_cast<std::size_t>(kTokens));
  EXPECT_EQ(text[1].size(), ids[1].size());
  for (int request : {1, 2})
    for (std::size_t at = 0; at < ids[request].size(); ++at)
      ASSERT_EQ(ids[request][at], static_cast<std::int32_t>(2 * at) + request - 1);
}

// Of two answers by turns, each thinking first: whose a piece is must survive the waiting.
TEST(Link, KeepsThoughtsFromTextAndAnswersFromEachOther) {
  SocketPair sockets = make_sockets();
  Link worker(std::move(sockets.worker));
  Link broker(std::move(sockets.broker));
  constexpr std::uint32_t kTokens = 40000;
  const auto letter = [](std::uint32_t answer, bool thinking) {
    return static_cast<char>((thinking ? 'a' : 'A') + static_cast<int>(answer));
  };
  for (std::uint32_t at = 0; at < kTokens; ++at) {
    contract::Token piece;
    piece.answer = at % 2;
    piece.thinking = at < kTokens / 2;
    piece.text = letter(piece.answer, piece.thinking);
    piece.token_ids = packed(1);
    worker.send_token(1, std::move(piece));
  }
  worker.send(1, contract::InputsDone{});
  std::size_t heard = 0;
  int frames = 0;
  bool spoke[2] = {};
  for (;; ++frames) {
    auto frame = broker.read();
    ASSERT_TRUE(frame && *frame);
    if ((*frame)->header.type == contract::InputsDone::kType) break;
    const auto token = contract::unpack<contract::Token>((*frame)->body);
    ASSERT_TRUE(token && token->answer < 2);
    EXPECT_EQ(token->text, std::string(token->text.size(), letter(token->answer, token->thinking)));
    EXPECT_FALSE(token->thinking && spoke[token->answer]) << "thoughts come before the text";
    spoke[token->answer] |= !token->thinking;
    heard += token->text.size();
  }
  EXPECT_EQ(heard, kTokens);
  EXPECT_LT(frames, static_cast<int>(kTokens) / 10);
}

TEST(Link, ReplacesProgressThatWaits) {
  SocketPair sockets = make_sockets();
  Link worker(std::move(sockets.worker));
  Link broker(std::move(sockets.broker));
  constexpr std::uint64_t kReports = 20000;
  for (std::uint64_t done = 1; done <= kReports; ++done) {
    contract::Progress progress;
    progress.stage = "loading";
    progress.done = done;
    worker.send(1, progress);
  }
  std::uint64_t last = 0;
  std::uint64_t frames = 0;
  while (last < kReports) {
    auto frame = broker.read();
    ASSERT_TRUE(frame && *frame);
    const auto progress = contract::unpack<contract::Progress>((*frame)->body);
    ASSERT_TRUE(progress && progress->done > last);
    last = progress->done;
    ++frames;
  }
  EXPECT_LT(frames, kReports / 2);
}

TEST(Link, FlushWaitsForASlowReader) {
  SocketPair sockets = make_sockets();
  Link worker(std::move(sockets.worker));
  Link broker(std::move(sockets.broker));
  contract::Generated reply;
  reply.stop_reason = "end_token";
  reply.text = std::string(200 * 1024, 'x');
  for (std::uint32_t id = 0; id < 20; ++id) worker.send(id, reply);
  std::thread reader([&] {
    for (std::uint32_t id = 0; id < 20; ++id) {
      auto frame = broker.read();
      ASSERT_TRUE(frame && *frame);
      EXPECT_EQ((*frame)->header.request_id, id);
    }
  });
  worker.flush(std::chrono::seconds(kWatchdogSeconds));
  reader.join();
}

TEST(Link, CutsAnErrorToWhatTheContractAllows) {
  SocketPair sockets = make_sockets();
  Link worker(std::move(sockets.worker));
  Link broker(std::move(sockets.broker));
  std::string what;
  while (what.size() < 5000) what += "é";
  worker.send_error(1, fail(Code::kInternal, "x" + what));
  auto frame = broker.read();
  ASSERT_TRUE(frame && *frame);
  const auto error = contract::unpack<contract::Error>((*frame)->body);
  ASSERT_TRUE(error) << error.error().what;
  EXPECT_EQ(error->what.size(), 4095U);
  EXPECT_EQ(error->hint, hint_of(Code::kInternal));
}

// The socket is filled first, so that the frame with descriptors waits and is written in parts.
TEST(Link, SendsDescriptorsWithTheirFrameAndClosesItsOwn) {
  SocketPair sockets = make_sockets();
  Link worker(std::move(sockets.worker));
  Link broker(std::move(sockets.broker));
  contract::Generated reply;
  reply.stop_reason = "end_token";
  reply.text = std::string(200 * 1024, 'x');
  for (std::uint32_t id = 1; id <= 5; ++id) worker.send(id, reply);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd reader(ends[0]);
  std::vector<Fd> fds;
  fds.emplace_back(ends[1]);
  worker.send(0, contract::LendArena{1, 2, 3}, std::move(fds));
  worker.send(6, reply);
  for (std::uint32_t id : {1, 2, 3, 4, 5, 0, 6}) {
    auto frame = broker.read();
    ASSERT_TRUE(frame && *frame);
    EXPECT_EQ((*frame)->header.request_id, id);
    ASSERT_EQ((*frame)->fds.size(), id == 0 ? 1U : 0U);
    if (id != 0) continue;
    ASSERT_EQ(::write((*frame)->fds[0].get(), "x", 1), 1) << "it is the pipe's end";
  }
  worker.flush(std::chrono::seconds(kWatchdogSeconds));
  char bytes[2];
  EXPECT_EQ(::read(reader.get(), bytes, 2), 1);
  EXPECT_EQ(::read(reader.get(), bytes, 2), 0) << "nobody holds the other end any more";
}

TEST(Link, RefusesWhatIsNoFrame) {
  SocketPair sockets = make_sockets();
  Link worker(std::move(sockets.worker));
  ASSERT_EQ(::send(sockets.broker.get(), "0123456789abcdef", 16, 0), 16);
  EXPECT_FALSE(worker.read());
}

TEST(Link, RefusesDescriptorsThatWereCutOff) {
  constexpr std::size_t kSent = 253;  // the most that the kernel passes; a frame may have fewer
  SocketPair sockets = make_sockets();
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto header = encode({1, 1, contract::InputsDone::kType, 0, kMaxFrameFds});
  iovec part{header.data(), header.size()};
  alignas(cmsghdr) std::byte control[CMSG_SPACE(sizeof(int) * kSent)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int) * kSent);
  const std::vector<int> fds(kSent, null.get());
  std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * kSent);
  ASSERT_EQ(::sendmsg(sockets.broker.get(), &message, MSG_NOSIGNAL),
            static_cast<ssize_t>(header.size()));
  ASSERT_EQ(::send(sockets.broker.get(), "\x80", 1, MSG_NOSIGNAL), 1);
  Link worker(std::move(sockets.worker));
  const auto frame = worker.read();
  ASSERT_FALSE(frame);
  EXPECT_NE(frame.error().what.find("cut off"), std::string::npos);
}

TEST(Link, RefusesDescriptorsThatWereAnnouncedButDidNotCome) {
  SocketPair sockets = make_sockets();
  Link worker(std::move(sockets.worker));
  const auto header = encode({0, 1, contract::AttachArena::kType, 0, 2});
  ASSERT_EQ(::send(sockets.broker.get(), header.data(), header.size(), 0), 16);
  EXPECT_FALSE(worker.read());
}

TEST(Link, SaysThatTheOtherSideIsGone) {
  SocketPair sockets = make_sockets();
  Link worker(std::move(sockets.worker));
  sockets.broker.reset();
  const auto frame = worker.read();
  ASSERT_TRUE(frame);
  EXPECT_FALSE(*frame);
  worker.send(1, contract::InputsDone{});  // says nothing, kills nobody
}

}  // namespace
}  // namespace hearth::worker
