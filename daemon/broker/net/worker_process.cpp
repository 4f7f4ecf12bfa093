#include "daemon/broker/net/worker_process.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/broker/broker.h"
#include "daemon/broker/net/channel.h"
#include "daemon/broker/net/libtorch.h"
#include "daemon/broker/net/spawn.h"

namespace hearth::broker {
namespace {

constexpr std::chrono::milliseconds kSettle{50};
constexpr std::chrono::milliseconds kUnkillable{2000};
constexpr const char* kDoesNotGo = "it was ended and does not go";

// libtorch's OpenMP threads sleep after a parallel region. By default they spin for milliseconds,
// beside the threads that the engine decodes with, and take their cores away.
constexpr const char* kQuietThreads = "OMP_WAIT_POLICY=passive";

}  // namespace

// One process from its start to its end.
class WorkerProcess::Link : public std::enable_shared_from_this<Link> {
 public:
  Link(UnixStream stream, Broker& broker, pid_t pid)
      : channel_(std::move(stream)),
        broker_(broker),
        pid_(pid),
        process_(channel_.executor()),
        settle_(channel_.executor()) {
    channel_.allow_large_frames();
  }

  void start() {
    watch_process();
    serve();
  }
  void resume(SavedLink saved) {
    how_ = std::move(saved.how);
    not_loaded_ = saved.not_loaded;
    reaped_ = saved.reaped;
    reported_ = saved.reported;
    stream_ended_ = !channel_.is_open();
    if (!reaped_) watch_process();
    if (channel_.is_open()) {
      channel_.restore(std::move(saved.channel));
      serve();
    }
    if (reported_) return;
    if (reaped_ || stream_ended_) return settle();
    if (how_ == kDoesNotGo) end();  // nobody else counts the time that is left to it
  }
  SavedLink save() { return {pid_, channel_.save(), how_, not_loaded_, reaped_, reported_}; }
  void send(OutFrame frame) { channel_.send(std::move(frame)); }
  void kill() {
    if (!reaped_) ::kill(pid_, SIGKILL);
  }
  // One that the kernel does not let go, as happens inside a driver, counts as gone all the same.
  void end() {
    kill();
    how_ = kDoesNotGo;
    wait_to_report(kUnkillable);
  }
  // Nobody listens any more.
  void disown() { reported_ = true; }
  bool is_reaped() const { return reaped_; }

 private:
  void watch_process() {
    const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
    if (pidfd < 0) return;  // the end of the stream must do
    process_.assign(pidfd);
    await_its_end();
  }
  void serve() {
    asio::co_spawn(channel_.executor(), read(shared_from_this()), asio::detached);
    asio::co_spawn(channel_.executor(), write(shared_from_this()), asio::detached);
  }

  static asio::awaitable<void> read(std::shared_ptr<Link> self) {
    for (;;) {
      InFrame frame;
      const Result<void> got = co_await self->channel_.read(frame);
      if (!got) self->note_end(got.error());
      if (!got) break;
      if (!self->reported_) self->broker_.receive_from_worker(std::move(frame));
    }
    self->stream_ended();
  }
  static asio::awaitable<void> write(std::shared_ptr<Link> self) {
    co_await self->channel_.write();
  }

  void await_its_end() {
    process_.async_wait(asio::posix::stream_descriptor::wait_read,
                        [self = shared_from_this()](SystemError) { self->exited(); });
  }
  void exited() {
    int status = 0;
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    // Asio may deliver an event that was meant for a descriptor closed just before.
    if (ended == 0) return await_its_end();
    if (ended == pid_ && !broke_rules_) how_ = describe_exit(status);
    not_loaded_ = ended == pid_ && WIFEXITED(status) && WEXITSTATUS(status) == kNotLoaded;
    reaped_ = true;
    SystemError ignored;
    process_.close(ignored);
    settle();
  }
  // What it sent is no frame: its own exit, which follows, would hide that.
  void note_end(const Error& error) {
    if (error.code != Code::kBadRequest) return;
    broke_rules_ = true;
    how_ = "it sent bytes that make no sense: " + error.what;
  }
  void stream_ended() {
    stream_ended_ = true;
    channel_.close();
    settle();
  }
  // Reports the end when both signs of it are there, or one has been for kSettle.
  void settle() {
    if (reaped_ && stream_ended_) return report();
    wait_to_report(kSettle);
  }
  void wait_to_report(std::chrono::milliseconds time) {
    settle_.expires_after(time);
    settle_.async_wait([self = shared_from_this()](SystemError cancelled) {
      if (!cancelled) self->report();
    });
  }
  void report() {
    settle_.cancel();
    channel_.close();
    kill();
    if (std::exchange(reported_, true)) return;
    if (not_loaded_) broker_.worker_cannot_start(no_libtorch());
    broker_.worker_gone(how_);
  }

  Channel channel_;
  Broker& broker_;
  const pid_t pid_;
  asio::posix::stream_descriptor process_;  // its pidfd
  asio::steady_timer settle_;
  std::string how_ = "it closed its connection";
  bool not_loaded_ = false;  // its libraries could not be loaded, so it could not say a word
  bool reaped_ = false;
  bool stream_ended_ = false;
  bool reported_ = false;
  bool broke_rules_ = false;
};

WorkerProcess::WorkerProcess(asio::io_context& loop, WorkerCommand command)
    : loop_(loop), command_(std::move(command)) {}

WorkerProcess::~WorkerProcess() {
  if (link_ == nullptr) return;
  link_->disown();
  link_->kill();
}

Result<pid_t> WorkerProcess::start() {
  int ends[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return fail(Code::kWorkerLost, fmt::format("socketpair: {}", std::strerror(errno)));
  Fd ours(ends[0]);
  const Fd theirs(ends[1]);
  std::vector<std::string> words = {command_.program, "--link-fd", std::to_string(kLinkFd)};
  words.insert(words.end(), command_.arguments.begin(), command_.arguments.end());
  std::vector<std::string> environment = own_libtorch();
  environment.emplace_back(kQuietThreads);
  TRY(const pid_t pid, spawn(std::move(words), theirs.get(), std::move(environment)));
  UnixStream stream(loop_, asio::local::stream_protocol(), ours.release());
  std::erase_if(former_, [](const auto& link) { return link.expired(); });
  if (is_running()) former_.push_back(link_);
  link_ = std::make_shared<Link>(std::move(stream), *broker_, pid);
  link_->start();
  return pid;
}

void WorkerProcess::send(OutFrame frame) {
  if (link_ != nullptr) link_->send(std::move(frame));
}

void WorkerProcess::kill() {
  if (link_ != nullptr) link_->end();
}

std::vector<SavedLink> WorkerProcess::save() {
  std::vector<SavedLink> saved;
  for (const auto& former : former_)
    if (const auto link = former.lock(); link != nullptr && !link->is_reaped())
      saved.push_back(link->save());
  if (link_ != nullptr) saved.push_back(link_->save());
  return saved;
}

void WorkerProcess::resume(std::vector<SavedLink> saved) {
  for (SavedLink& each : saved) {
    if (link_ != nullptr) former_.push_back(link_);
    UnixStream stream(loop_);
    if (each.channel.stream.fd >= 0)
      stream.assign(asio::local::stream_protocol(), each.channel.stream.fd);
    link_ = std::make_shared<Link>(std::move(stream), *broker_, each.pid);
    link_->resume(std::move(each));
  }
}

bool WorkerProcess::is_running() const {
  return link_ != nullptr && !link_->is_reaped();
}

}  // namespace hearth::broker
