#include "daemon/broker/net/successor.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

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
constexpr std::chrono::milliseconds kFirstLook{1};
constexpr std::chrono::milliseconds kLastLook{500};

Error unfit(std::string what, std::string hint) {
  return fail(Code::kVersion, std::move(what), "The service goes on as it was. " + hint);
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

// The status of a process that was killed, once it is gone; none when the kernel holds it for
// longer than `patience`. Looked for now and then: a pidfd would be awaited as well, but may not be
// had when descriptors have run out, and then the process would stay unburied.
asio::awaitable<std::optional<int>> bury(asio::io_context& loop, pid_t pid,
                                         std::chrono::seconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  asio::steady_timer timer(loop);
  std::chrono::milliseconds step = kFirstLook;
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() >= deadline) co_return std::nullopt;
    timer.expires_after(step);
    co_await timer.async_wait(asio::use_awaitable);
    step = std::min(2 * step, kLastLook);
  }
  co_return status;
}

// However long it takes. (Awaited in the condition of a loop, gcc 12 gives it a broken frame.)
asio::awaitable<void> bury_later(asio::io_context& loop, pid_t pid) {
  std::optional<int> status;
  while (!status) status = co_await bury(loop, pid, kSuccessorPatience);
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
  if (!child)
    co_return unfit(fmt::format("{} cannot be started.", program),
                    "Install a whole program at its path and try again.");
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
  const std::optional<int> status = co_await bury(loop, *child, kSuccessorPatience);
  if (!status) {
    asio::co_spawn(loop, bury_later(loop, *child), asio::detached);
    co_return fail(Code::kTimedOut,
                   fmt::format("{} has been killed and does not end: the kernel holds process {}.",
                               program, *child),
                   "Do the files that it reads answer? Then ask for the upgrade again.");
  }
  if (is_late)
    co_return fail(Code::kTimedOut, fmt::format("{} has not answered within {} s.", program,
                                                kSuccessorPatience.count()));
  if (said.empty())
    co_return unfit(
        fmt::format("{} does not pass its own check: {}.", program, describe_exit(*status)),
        "Its log has what the program said of itself: mend that and try again.");
  co_return handover::from_line(said);
}

void answer_predecessor(const std::string& version) {
  const std::string line = handover::to_line(handover::this_program(version));
  (void)!::write(kLinkFd, line.data(), line.size());
}

}  // namespace hearth::broker
