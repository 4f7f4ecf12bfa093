// Beside the wire: the socket's file, threads for calls that can block, the engine's process.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <thread>

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/broker/net/listener.h"
#include "daemon/broker/net/off_loop_threads.h"
#include "daemon/broker/net/worker_process.h"
#include "tests/unit/broker_for_test.h"
#include "tests/unit/loop_for_test.h"

namespace hearth::broker {
namespace {

TEST(ListenerTest, OneDaemonServesAPath) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/sub/hearth.sock";
  auto first = Listener::open(path);
  ASSERT_TRUE(first);
  struct stat made = {};
  ASSERT_EQ(stat((folder.path() + "/sub").c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 0777, 0700u);
  const auto second = Listener::open(path);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().what.find(std::to_string(getpid())), std::string::npos);
  first->remove();
  EXPECT_NE(lstat(path.c_str(), &made), 0);
  EXPECT_TRUE(Listener::open(path));
}

TEST(ListenerTest, StaleSocketIsReplacedAndAnythingElseRefused) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/hearth.sock";
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  {
    const Fd dead(socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  EXPECT_TRUE(Listener::open(path));
  folder.write("hearth.sock", "precious");
  EXPECT_FALSE(Listener::open(path));
  EXPECT_TRUE(std::filesystem::exists(path));
  std::filesystem::remove(path);
  std::filesystem::create_symlink("elsewhere", path);
  const auto refused = Listener::open(path);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("symbolic link"), std::string::npos);
  EXPECT_FALSE(Listener::open(folder.path() + "/" + std::string(200, 'x')));
}

TEST(OffLoopThreadsTest, WorkRunsElsewhereAndItsEndHere) {
  asio::io_context loop;
  OffLoopThreads threads(loop);
  std::thread::id worked;
  std::thread::id ended;
  threads.run(OffLoop::Lane::kMemory, [&] {
    worked = std::this_thread::get_id();
    return [&] { ended = std::this_thread::get_id(); };
  });
  ASSERT_TRUE(run_until(loop, [&] { return ended != std::thread::id(); }));
  EXPECT_EQ(ended, std::this_thread::get_id());
  EXPECT_NE(worked, ended);
}

std::ptrdiff_t threads_of_this_process() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                       std::filesystem::directory_iterator());
}

// Work that begins and does not end until it is released.
class Stuck {
 public:
  explicit Stuck(OffLoopThreads& threads) : threads_(threads) {}
  ~Stuck() { release(); }
  void release() {
    if (!std::exchange(is_released_, true)) release_.set_value();
  }
  // `begun` is ready when a thread is at it.
  OffLoop::Ticket add(OffLoop::Lane lane, std::future<void>& begun) {
    const auto begin = std::make_shared<std::promise<void>>();
    begun = begin->get_future();
    return threads_.run(lane, [this, begin, released = released_] {
      begin->set_value();
      released.wait();
      return [this] { ended_late = true; };
    });
  }
  OffLoop::Ticket begin(OffLoop::Lane lane) {
    std::future<void> begun;
    const auto ticket = add(lane, begun);
    EXPECT_NE(ticket, 0u);
    begun.wait();
    return ticket;
  }
  bool ended_late = false;

 private:
  OffLoopThreads& threads_;
  std::promise<void> release_;
  std::shared_future<void> released_ = release_.get_future().share();
  bool is_released_ = false;
};

OffLoop::Continuation nothing() {
  return {};
}

TEST(OffLoopThreadsTest, StuckWorkIsLeftBehindUntilTooMuchIsStuck) {
  constexpr auto kLane = OffLoop::Lane::kClientFiles;
  asio::io_context loop;
  OffLoopThreads threads(loop);
  Stuck stuck(threads);
  OffLoop::Ticket ticket = stuck.begin(kLane);
  for (int i = 0; i < OffLoopThreads::kMaxStuck; ++i) {
    bool goes_on = false;
    EXPECT_NE(threads.run(kLane, [&] { return [&] { goes_on = true; }; }), 0u);
    std::future<void> begun;
    const auto next = stuck.add(kLane, begun);
    EXPECT_EQ(threads.stuck(), i);
    threads.abandon(ticket);
    EXPECT_TRUE(run_until(loop, [&] { return goes_on; })) << i;
    begun.wait();
    ticket = next;
  }
  EXPECT_EQ(threads.stuck(), OffLoopThreads::kMaxStuck);
  EXPECT_EQ(threads.run(kLane, nothing), 0u);
  const auto n_threads = threads_of_this_process();
  threads.abandon(ticket);
  EXPECT_LE(threads_of_this_process(), n_threads) << "no further one in its place";
  stuck.release();
  EXPECT_TRUE(run_until(loop, [&] { return threads.run(kLane, nothing) != 0; }));
  EXPECT_TRUE(run_until(loop, [&] { return threads.is_idle(); }));
  EXPECT_EQ(threads.stuck(), 0);
  EXPECT_FALSE(stuck.ended_late);
}

TEST(OffLoopThreadsTest, FilesOfClientsKeepNobodyFromTheServicesOwn) {
  asio::io_context loop;
  OffLoopThreads threads(loop);
  Stuck stuck(threads);
  for (int i = 0; i < OffLoopThreads::kMaxStuck; ++i)
    threads.abandon(stuck.begin(OffLoop::Lane::kClientFiles));
  for (const auto lane : {OffLoop::Lane::kOwnFiles, OffLoop::Lane::kMemory}) {
    bool is_read = false;
    EXPECT_NE(threads.run(lane, [&] { return [&] { is_read = true; }; }), 0u);
    EXPECT_TRUE(run_until(loop, [&] { return is_read; }));
  }
  EXPECT_FALSE(threads.is_idle());
}

TEST(OffLoopThreadsTest, AdoptedDescriptorsAreClosedElsewhere) {
  asio::io_context loop;
  OffLoopThreads threads(loop);
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const Fd other(ends[1]);
  SharedFd adopted = threads.adopt(Fd(ends[0]));
  adopted.reset();
  EXPECT_TRUE(run_until(loop, [&] {
    char byte = 0;
    return recv(other.get(), &byte, 1, MSG_DONTWAIT) == 0;
  }));
}

// A shell stands in for the engine process.
class WorkerProcessTest : public testing::Test {
 protected:
  WorkerProcess& start(const std::string& script) {
    const TemporaryFolder& f = folder;
    const std::string program = f.write("worker", "#!/bin/sh\n" + script + "\n");
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    process = std::make_unique<WorkerProcess>(loop, WorkerCommand{program, {}});
    broker = std::make_unique<Broker>(Config{}, Ports{*process, timer, off_loop});
    process->report_to(*broker);
    broker->start();
    return *process;
  }
  bool is_lost() const { return broker->core().supervisor.restarts() > 0; }

  TemporaryFolder folder;
  asio::io_context loop;
  FakeTimer timer;
  FakeOffLoop off_loop;
  std::unique_ptr<WorkerProcess> process;
  std::unique_ptr<Broker> broker;
};

TEST_F(WorkerProcessTest, ItsEndIsReportedOnce) {
  start("exit 3");
  ASSERT_TRUE(run_until(loop, [&] { return is_lost(); }));
  loop.restart();
  loop.run_for(Milliseconds(100));
  EXPECT_EQ(broker->core().supervisor.restarts(), 1u);
  EXPECT_FALSE(process->is_running());
}

TEST_F(WorkerProcessTest, OneThatClosesItsLinkIsEnded) {
  start("exec 3>&-; exec sleep 1000");
  ASSERT_TRUE(run_until(loop, [&] { return is_lost() && !process->is_running(); }));
}

TEST_F(WorkerProcessTest, OneWhoseChildKeepsTheLinkIsNoticed) {
  start("sleep 2 & exit 0");
  ASSERT_TRUE(run_until(loop, [&] { return is_lost(); }));
}

// Else nobody would count the time that is left to it.
TEST_F(WorkerProcessTest, OneThatDidNotGoBeforeAnUpgradeIsEndedAfterIt) {
  std::vector<SavedLink> saved = start("exec sleep 1000").save();
  ASSERT_EQ(saved.size(), 1u);
  saved[0].channel.stream.fd = ::dup(saved[0].channel.stream.fd);
  saved[0].how = "it was ended and does not go";
  WorkerProcess next(loop, WorkerCommand{});
  next.report_to(*broker);
  next.resume(std::move(saved));
  EXPECT_TRUE(run_until(loop, [&] { return is_lost(); }));
}

TEST_F(WorkerProcessTest, SignalsDoNotReachItFromTheTerminal) {
  const WorkerProcess& running = start("exec sleep 1000");
  ASSERT_TRUE(running.is_running());
  const pid_t pid = broker->core().supervisor.pid();
  EXPECT_TRUE(run_until(loop, [&] { return getpgid(pid) == pid; }));
  process->kill();
  EXPECT_TRUE(run_until(loop, [&] { return is_lost(); }));
}

TEST_F(WorkerProcessTest, ItsOpenMpThreadsSleepUnlessTheUserSaysOtherwise) {
  const auto policy = [&] {
    std::filesystem::remove(folder.path() + "/said");
    start("echo \"$OMP_WAIT_POLICY\" > '" + folder.path() + "/said'; exit 0");
    EXPECT_TRUE(run_until(loop, [&] { return is_lost(); }));
    std::string word;
    std::ifstream(folder.path() + "/said") >> word;
    return word;
  };
  ASSERT_EQ(unsetenv("OMP_WAIT_POLICY"), 0);
  EXPECT_EQ(policy(), "passive");
  ASSERT_EQ(setenv("OMP_WAIT_POLICY", "active", 1), 0);
  EXPECT_EQ(policy(), "active");
  unsetenv("OMP_WAIT_POLICY");
}

TEST_F(WorkerProcessTest, MissingProgramIsAnError) {
  WorkerProcess missing(loop, WorkerCommand{"/nonexistent/hearth-worker", {}});
  const auto started = missing.start();
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().what.find("/nonexistent/hearth-worker"), std::string::npos);
}

}  // namespace
}  // namespace hearth::broker
