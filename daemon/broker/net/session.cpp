#include "daemon/broker/net/session.h"

#include <cerrno>

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

namespace hearth::broker {
namespace {

#ifndef SO_PEERPIDFD
constexpr int SO_PEERPIDFD = 77;  // Linux 6.5; missing in older headers
#endif

// The primary one alone where the others cannot be known.
std::vector<gid_t> groups_of(int socket, gid_t primary) {
  std::vector<gid_t> groups(32);
  for (;;) {
    socklen_t size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    const int got = getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
    if (got != 0 && errno != ERANGE) size = 0;
    groups.resize(size / sizeof(gid_t));  // ERANGE: what it takes
    if (got == 0 || size == 0) break;
  }
  groups.insert(groups.begin(), primary);
  return groups;
}

Peer peer_of(int socket) {
  ucred credentials = {};
  socklen_t size = sizeof(credentials);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {};
  return Peer{credentials.pid, credentials.uid, groups_of(socket, credentials.gid)};
}

// -1 where neither way works; the end of the stream must do then.
int pidfd_of(int socket, pid_t pid) {
  int pidfd = -1;
  socklen_t size = sizeof(pidfd);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0) return pidfd;
  return pid > 0 ? static_cast<int>(syscall(SYS_pidfd_open, pid, 0)) : -1;
}

// An event is no proof: Asio may deliver one that was meant for a descriptor closed just before.
bool is_readable(int fd) {
  pollfd asked{fd, POLLIN, 0};
  return poll(&asked, 1, 0) > 0;
}

}  // namespace

Session::Session(UnixStream stream, Broker& broker, OffLoop& off_loop)
    : channel_(std::move(stream)),
      broker_(broker),
      off_loop_(off_loop),
      peer_(peer_of(channel_.native_handle())),
      process_(channel_.executor()),
      return_(channel_.executor()) {}

void Session::start() {
  id_ = broker_.connect(*this, peer_);
  watch_process();
  serve();
}

void Session::serve() {
  asio::co_spawn(process_.get_executor(), read(shared_from_this()), asio::detached);
  asio::co_spawn(process_.get_executor(), write(shared_from_this()), asio::detached);
}

std::optional<SavedSession> Session::save() {
  if (!channel_.is_open() && !process_.is_open()) return std::nullopt;
  SavedSession saved;
  saved.id = id_;
  saved.channel = channel_.save();
  saved.process.fd = process_.is_open() ? process_.native_handle() : -1;
  saved.process_gone = process_gone_;
  return saved;
}

void Session::resume(SavedSession saved) {
  id_ = saved.id;
  process_gone_ = saved.process_gone;
  if (saved.process.fd >= 0) process_.assign(saved.process.fd);
  if (process_.is_open() && !process_gone_) await_its_end();
  if (channel_.is_open()) {
    channel_.restore(std::move(saved.channel));
    broker_.attach(id_, *this);
    return serve();
  }
  asio::post(process_.get_executor(), [self = shared_from_this()] {
    self->broker_.disconnect(self->id_);
    self->let_process_go();
  });
}

asio::awaitable<void> Session::read(std::shared_ptr<Session> self) {
  for (;;) {
    InFrame frame;
    const Result<void> got = co_await self->channel_.read(frame);
    if (got) {
      self->broker_.receive(self->id_, std::move(frame));
      continue;
    }
    for (Fd& fd : frame.fds) self->off_loop_.adopt(std::move(fd));
    if (got.error().code != Code::kNotReachable) self->broker_.violated(self->id_, got.error());
    break;
  }
  self->broker_.disconnect(self->id_);
  self->channel_.close_when_sent();
  self->let_process_go();
}

asio::awaitable<void> Session::write(std::shared_ptr<Session> self) {
  co_await self->channel_.write();
}

void Session::watch_process() {
  if (!channel_.is_open()) return;
  const int pidfd = pidfd_of(channel_.native_handle(), peer_.pid);
  if (pidfd < 0) return;
  process_.assign(pidfd);
  await_its_end();
}

void Session::await_its_end() {
  process_.async_wait(asio::posix::stream_descriptor::wait_read,
                      [self = shared_from_this()](SystemError cancelled) {
                        if (cancelled) return;
                        if (!is_readable(self->process_.native_handle()))
                          return self->await_its_end();
                        self->process_gone_ = true;
                        self->channel_.close();
                        self->broker_.process_gone(self->id_);
                        self->return_.cancel();  // nobody comes back: let the pidfd go
                      });
}

// The connection is gone. Its process is watched on while it may come back for its work.
void Session::let_process_go() {
  if (process_gone_) broker_.process_gone(id_);
  if (!broker_.awaits_return(id_)) {
    SystemError ignored;
    process_.close(ignored);
    return;
  }
  return_.expires_after(broker_.core().config.return_within);
  return_.async_wait([self = shared_from_this()](SystemError) {
    SystemError ignored;
    self->process_.close(ignored);
  });
}

}  // namespace hearth::broker
