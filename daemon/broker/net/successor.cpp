#include "daemon/broker/net/successor.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "daemon/broker/handover/replace.h"
#include "daemon/broker/net/spawn.h"
#include "shm/base/fd.h"

namespace hearth::broker {
namespace {

constexpr std::size_t kMostAnswerBytes = 512;

Error unfit(std::string what) {
  return fail(Code::kVersion, std::move(what),
              "The service goes on as it was. Install a whole program at its path and try again.");
}

// What the other end says until it is closed, at most until `deadline`.
asio::awaitable<std::string> hear_out(asio::posix::stream_descriptor& link,
                                      asio::steady_timer& deadline) {
  std::string said;
  while (link.is_open() && said.size() < kMostAnswerBytes) {
    std::array<char, kMostAnswerBytes> piece;
    const ssize_t n = ::recv(link.native_handle(), piece.data(), piece.size(), MSG_DONTWAIT);
    if (n == 0) break;
    if (n > 0) {
      said.append(piece.data(), static_cast<std::size_t>(n));
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) break;
    SystemError ended;
    co_await link.async_wait(asio::posix::stream_descriptor::wait_read,
                             asio::redirect_error(asio::use_awaitable, ended));
  }
  deadline.cancel();
  co_return said;
}

}  // namespace

asio::awaitable<Result<handover::Program>> ask_successor(asio::io_context& loop,
                                                         std::string program,
                                                         std::vector<std::string> arguments) {
  int ends[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    co_return fail(Code::kBusy, fmt::format("socketpair: {}", std::strerror(errno)));
  asio::posix::stream_descriptor link(loop, ends[0]);
  Fd theirs(ends[1]);
  std::vector<std::string> words = {program, std::string(handover::kCanTakeOver)};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const Result<pid_t> child = spawn(std::move(words), theirs.get());
  theirs.reset();
  if (!child) co_return unfit(fmt::format("{} cannot be started.", program));
  bool is_late = false;
  asio::steady_timer deadline(loop, kSuccessorPatience);
  deadline.async_wait([&](SystemError cancelled) {
    if (cancelled) return;
    is_late = true;
    SystemError ignored;
    link.close(ignored);
  });
  const std::string said = co_await hear_out(link, deadline);
  ::kill(*child, SIGKILL);  // it has said all it had to
  int status = 0;
  ::waitpid(*child, &status, 0);
  if (is_late)
    co_return fail(Code::kTimedOut, fmt::format("{} has not answered within {} s.", program,
                                                kSuccessorPatience.count()));
  if (said.empty())
    co_return unfit(
        fmt::format("{} does not pass its own check: {}.", program, describe_exit(status)));
  co_return handover::from_line(said);
}

void answer_predecessor(const std::string& version) {
  const std::string line = handover::to_line(handover::this_program(version));
  (void)!::write(kLinkFd, line.data(), line.size());
}

}  // namespace hearth::broker
