#include "daemon/broker/net/service.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <list>

#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>

#include "daemon/broker/broker.h"
#include "daemon/broker/handover/format.h"
#include "daemon/broker/handover/replace.h"
#include "daemon/broker/net/listener.h"
#include "daemon/broker/net/off_loop_threads.h"
#include "daemon/broker/net/session.h"
#include "daemon/broker/net/successor.h"
#include "daemon/service/notifier.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

constexpr std::chrono::milliseconds kAcceptPause{100};  // when descriptors have run out
constexpr std::chrono::milliseconds kStep{10};          // while stopping or reloading
constexpr std::chrono::milliseconds kFarewell{400};     // for clients to read their last frames
constexpr std::chrono::milliseconds kWorkerExit{700};
constexpr std::chrono::seconds kSpare{5};     // before systemd ends what does not end
constexpr std::chrono::seconds kPublish{30};  // one folder of models, on a slow disk
constexpr std::chrono::seconds kSettle{1};    // for what is under way off the loop at an upgrade
constexpr std::chrono::milliseconds kSettleStep{1};

// The one timer of the core: fires at the earliest time anybody asked for.
class LoopTimer : public TimerPort {
 public:
  explicit LoopTimer(asio::io_context& loop) : timer_(loop) {}
  void call(std::function<void()> tick) { tick_ = std::move(tick); }
  TimePoint now() override { return Clock::now(); }
  void wake_at(TimePoint when) override {
    if (when >= armed_) return;
    armed_ = when;
    timer_.expires_at(when);
    timer_.async_wait([this](SystemError cancelled) {
      if (cancelled || Clock::now() < armed_) return;
      armed_ = TimePoint::max();
      tick_();
    });
  }

 private:
  asio::steady_timer timer_;
  TimePoint armed_ = TimePoint::max();
  std::function<void()> tick_;
};

class Service {
 public:
  Service(Options options, Listener listener)
      : options_(std::move(options)),
        listener_(std::move(listener)),
        off_loop_(loop_),
        timer_(loop_),
        worker_(loop_, options_.worker),
        broker_(options_.config, {worker_, timer_, off_loop_}),
        acceptor_(loop_, asio::local::stream_protocol(), listener_.release()),
        signals_(loop_, SIGTERM, SIGINT),
        hangups_(loop_, SIGHUP),
        upgrade_signal_(loop_, SIGUSR2) {
    acceptor_.native_non_blocking(true);
    worker_.report_to(broker_);
    timer_.call([this] { broker_.tick(); });
    broker_.on_worker_ready([this](const auto& engine) { announce(engine); });
    broker_.on_stop([this] { asio::co_spawn(loop_, stop(), asio::detached); });
  }

  Result<void> run();
  // The same for a process that takes over: `loader` has the state but for its start, `announced`
  // is of that. Errors: internal; nothing has been sent then, and this service is of no use.
  Result<void> resume(handover::Loader& loader, bool announced);

 private:
  Result<void> publish(const NamedFolder& folder);
  void serve_until_stopped();
  void await_upgrade_signal();
  asio::awaitable<void> upgrade();
  asio::awaitable<Error> be_replaced();
  Error hand_over();
  void pause_reading(bool paused);
  asio::awaitable<void> accept();
  int take_connection();
  void serve(int socket);
  void close_door();
  asio::awaitable<void> stop();
  asio::awaitable<void> reload();
  asio::awaitable<void> keep_told();
  asio::awaitable<void> pause(std::chrono::milliseconds time);
  void await_hangup();
  void announce(const contract::WorkerReady& engine);
  bool is_any_open() const;

  Options options_;
  Listener listener_;
  asio::io_context loop_{1};
  OffLoopThreads off_loop_;
  LoopTimer timer_;
  WorkerProcess worker_;
  Broker broker_;
  asio::local::stream_protocol::acceptor acceptor_;
  asio::signal_set signals_;
  asio::signal_set hangups_;
  asio::signal_set upgrade_signal_;
  std::list<std::weak_ptr<Session>> sessions_;
  service::Notifier notifier_;
  bool announced_ = false;
  bool reading_paused_ = false;
};

// The disk may be slow, and the loop waits for it: the service manager hears so.
Result<void> Service::publish(const NamedFolder& folder) {
  notifier_.needs(kPublish);
  return broker_.publish(folder);
}

Result<void> Service::run() {
  for (const NamedFolder& folder : options_.models) CHECK_OK(publish(folder));
  broker_.start();
  serve_until_stopped();
  return {};
}

Result<void> Service::resume(handover::Loader& loader, bool announced) {
  announced_ = announced;
  loader.adopt_with([this](Fd fd) { return off_loop_.adopt(std::move(fd)); });
  CHECK_OK(broker_.restore(loader));
  SavedTraffic traffic;
  load(loader, traffic);
  CHECK_OK(loader.result());
  for (const NamedFolder& folder : options_.models)
    if (const auto published = publish(folder); !published)
      log::error("{} is not published any more: {}", folder.name, published.error().what);
  for (SavedSession& saved : traffic.sessions) {
    UnixStream stream(loop_);
    if (saved.channel.stream.fd >= 0)
      stream.assign(asio::local::stream_protocol(), saved.channel.stream.fd);
    auto session = std::make_shared<Session>(std::move(stream), broker_, off_loop_);
    sessions_.push_back(session);
    session->resume(std::move(saved));
  }
  worker_.resume(std::move(traffic.links));
  broker_.resume();
  serve_until_stopped();
  return {};
}

void Service::serve_until_stopped() {
  broker_.on_upgrade([this] { asio::co_spawn(loop_, upgrade(), asio::detached); });
  await_upgrade_signal();
  asio::co_spawn(loop_, accept(), asio::detached);
  signals_.async_wait([this](SystemError, int) {
    asio::co_spawn(loop_, stop(), asio::detached);
    signals_.async_wait([this](SystemError, int) { loop_.stop(); });  // asked again: at once
  });
  await_hangup();
  notifier_.ready(broker_.status_line());
  if (notifier_.is_heard()) asio::co_spawn(loop_, keep_told(), asio::detached);
  handover::allow_signals();
  loop_.run();
}

void Service::await_upgrade_signal() {
  upgrade_signal_.async_wait([this](SystemError cancelled, int) {
    if (cancelled) return;
    broker_.want_upgrade();
    await_upgrade_signal();
  });
}

// While the successor is asked everything is served as ever; then clients are not read for as long
// as it takes to finish what is under way off the loop.
asio::awaitable<void> Service::upgrade() {
  notifier_.reloading();
  const Error error = co_await be_replaced();
  pause_reading(false);
  notifier_.ready(broker_.status_line());
  broker_.upgrade_failed(error);
}

// execve(2) ends all other threads and waits for that. Not even SIGKILL ends one whose call a FUSE
// server, or a hard NFS mount, has taken and does not answer: the whole service would hang with it,
// and only that server could let it go on.
Error held_fast(int threads) {
  return fail(Code::kBusy,
              fmt::format("{} wait{} for files of a file system that does not answer, and the new "
                          "program would wait with {}.",
                          threads == 1 ? "A thread" : fmt::format("{} threads", threads),
                          threads == 1 ? "s" : "", threads == 1 ? "it" : "them"),
              "The log says whose files they are (files_silent). End the server of their file "
              "system, or `umount -f` it; then ask again.");
}

// Returns only when this process was not replaced.
asio::awaitable<Error> Service::be_replaced() {
  if (const int stuck = off_loop_.stuck(); stuck > 0) co_return held_fast(stuck);
  const auto successor = co_await ask_successor(loop_, options_.program, options_.arguments);
  if (!successor) co_return successor.error();
  const auto fits =
      handover::check_succession(handover::this_program(options_.config.server), *successor);
  if (!fits) co_return fits.error();
  pause_reading(true);
  const TimePoint deadline = Clock::now() + kSettle;
  while (!off_loop_.is_idle()) {
    if (Clock::now() >= deadline)
      co_return fail(Code::kBusy, "Files of a client, or memory for one, are not there yet.",
                     "Ask for the upgrade again in a moment; `hearth status` shows the clients.");
    co_await pause(kSettleStep);
  }
  if (broker_.core().stopping) co_return fail(Code::kShuttingDown, "The service is stopping.");
  co_return hand_over();
}

Error Service::hand_over() {
  handover::Saver saver;
  save(saver, SavedStart{options_.config.boot_id,
                         {acceptor_.native_handle()},
                         {listener_.lock()},
                         listener_.path(),
                         announced_});
  broker_.save(saver);
  SavedTraffic traffic;
  for (const auto& weak : sessions_) {
    const auto session = weak.lock();
    if (session == nullptr) continue;
    if (auto saved = session->save()) traffic.sessions.push_back(*std::move(saved));
  }
  traffic.links = worker_.save();
  save(saver, traffic);
  const auto memfd = handover::write_state(saver.bytes(), saver.descriptors());
  if (!memfd) return memfd.error();
  return handover::replace_process(options_.program, options_.arguments, *memfd,
                                   saver.descriptors());
}

void Service::pause_reading(bool paused) {
  reading_paused_ = paused;
  for (const auto& weak : sessions_)
    if (const auto session = weak.lock()) session->pause_reading(paused);
}

void Service::await_hangup() {
  hangups_.async_wait([this](SystemError ended, int) {
    if (ended) return;
    asio::co_spawn(loop_, reload(), asio::detached);
    await_hangup();
  });
}

// SIGHUP asks for the configuration to be read again. systemctl reload waits for the end of it.
asio::awaitable<void> Service::reload() {
  if (broker_.core().stopping) co_return;
  notifier_.reloading();
  broker_.reload();
  while (broker_.is_reloading()) co_await pause(kStep);
  if (!broker_.core().stopping) notifier_.ready(broker_.status_line());
}

asio::awaitable<void> Service::pause(std::chrono::milliseconds time) {
  asio::steady_timer timer(loop_, time);
  co_await timer.async_wait(asio::use_awaitable);
}

// Asio's own accept leaves the socket open to every process that is started later.
int Service::take_connection() {
  return accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC);
}

asio::awaitable<void> Service::accept() {
  while (acceptor_.is_open()) {
    SystemError ended;
    co_await acceptor_.async_wait(asio::socket_base::wait_read,
                                  asio::redirect_error(asio::use_awaitable, ended));
    if (ended) {
      if (acceptor_.is_open()) co_await pause(kAcceptPause);
      continue;
    }
    const int socket = take_connection();
    if (socket < 0) {
      if (errno != EAGAIN && errno != EINTR) co_await pause(kAcceptPause);
      continue;
    }
    serve(socket);
  }
}

void Service::serve(int socket) {
  UnixStream stream(loop_, asio::local::stream_protocol(), socket);
  std::erase_if(sessions_, [](const auto& session) { return session.expired(); });
  auto session = std::make_shared<Session>(std::move(stream), broker_, off_loop_);
  sessions_.push_back(session);
  session->pause_reading(reading_paused_);
  session->start();
}

// Who connected before the end gets an answer. A socket that is passed on is another matter: who
// waits there is served by the next process.
void Service::close_door() {
  SystemError ignored;
  if (!listener_.is_ours()) return static_cast<void>(acceptor_.close(ignored));
  listener_.remove();
  for (;;) {
    const int socket = take_connection();
    if (socket < 0) break;
    serve(socket);
  }
  acceptor_.close(ignored);
}

// From the loop: one that is stuck pings no watchdog.
asio::awaitable<void> Service::keep_told() {
  asio::steady_timer timer(loop_);
  for (;;) {
    timer.expires_at(notifier_.tick(Clock::now(), broker_.is_healthy(), broker_.status_line()));
    co_await timer.async_wait(asio::use_awaitable);
  }
}

// Says once on standard output that the service can work, and on what.
void Service::announce(const contract::WorkerReady& engine) {
  if (std::exchange(announced_, true)) return;
  std::string line = fmt::format("hearthd is ready: socket {}, device {} ({})", listener_.path(),
                                 engine.device.kind, engine.device.name);
  for (const std::string& remark : engine.remarks) line += "; " + remark;
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

bool Service::is_any_open() const {
  return std::any_of(sessions_.begin(), sessions_.end(), [](const auto& weak) {
    const auto session = weak.lock();
    return session != nullptr && session->is_open();
  });
}

asio::awaitable<void> Service::stop() {
  close_door();
  broker_.stop("the service was asked to stop");
  notifier_.stopping(broker_.status_line(),
                     broker_.core().config.drain + kFarewell + kWorkerExit + kSpare);
  while (!broker_.is_stopped()) co_await pause(kStep);
  TimePoint deadline = Clock::now() + kFarewell;
  while (is_any_open() && Clock::now() < deadline) co_await pause(kStep);
  for (const auto& weak : sessions_)
    if (const auto session = weak.lock()) session->close_now();
  deadline = Clock::now() + kWorkerExit;
  while (worker_.is_running() && Clock::now() < deadline) co_await pause(kStep);
  loop_.stop();
}

}  // namespace

namespace {

// Serves until it is stopped, like serve(). Errors: the state cannot be used.
Result<void> take_over(Options options) {
  TRY(const handover::State state, handover::read_state(options.take_over));
  handover::Loader loader(state.bytes, state.format, state.descriptors);
  SavedStart start;
  load(loader, start);
  CHECK_OK(loader.result());
  options.config.boot_id = start.boot_id;
  if (!handover::set_close_on_exec(state.descriptors, true))
    return fail(Code::kInternal, "A descriptor did not come along.");
  ::close(std::exchange(options.take_over, -1));
  Service service(std::move(options),
                  Listener::taken_over(start.socket.fd, start.lock.fd, start.path));
  return service.resume(loader, start.announced);
}

}  // namespace

Result<void> serve(Options options) {
  if (options.take_over >= 0) {
    const auto served = take_over(options);
    if (served) return {};
    log::error("what the process before handed over is lost, and its clients with it: {}",
               served.error().what);
    handover::abandon_inheritance();
    // Whoever passed the socket starts us again with it; else it is made anew.
    if (service::Notifier().is_heard()) return served;
  }
  TRY(Listener listener, Listener::open(options.socket));
  return Service(std::move(options), std::move(listener)).run();
}

}  // namespace hearth::broker
