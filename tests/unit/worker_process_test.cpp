// The worker program: how it ends.

#include <chrono>
#include <csignal>
#include <set>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/generate_for_test.h"
#include "tests/unit/worker_for_test.h"

namespace hearth::worker {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kExitLimit(10'000);  // ten times the target of one second

class Process {
 public:
  explicit Process(std::vector<std::string> more = {}) : Process(make_sockets(), more) {}
  ~Process() {
    if (exited_) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  // The wait status, or -1 when it still runs at `limit`.
  int exit_status(milliseconds limit) {
    const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    pollfd waiting{pidfd.get(), POLLIN, 0};
    int ready = 0;
    do ready = ::poll(&waiting, 1, static_cast<int>(limit.count()));
    while (ready < 0 && errno == EINTR);
    int status = -1;
    exited_ = ready == 1 && ::waitpid(pid_, &status, 0) == pid_;
    return status;
  }

  BrokerSide& broker() { return *broker_; }
  void hang_up() { broker_.reset(); }
  void signal(int number) { ::kill(pid_, number); }

  void make_hot() {
    broker_->attach_fake(1000, "m");
    ASSERT_TRUE(broker_->load(1001, "m").loaded);
  }
  void generate(std::uint32_t id, const std::string& text) {
    contract::Generate request = generate::chat(text);
    request.model = "m";
    broker_->send(id, contract::AssignJob{1000, 1, 0});
    broker_->send(id, request);
  }

 private:
  Process(SocketPair sockets, const std::vector<std::string>& more) {
    std::vector<std::string> words = {HEARTH_BIN_DIR "/hearth-worker",
                                      "--link-fd",
                                      std::to_string(sockets.worker.get()),
                                      "--device",
                                      "cpu",
                                      "--fake",
                                      "--log-level",
                                      "error"};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::fcntl(sockets.worker.get(), F_SETFD, 0);
      ::execv(arguments[0], arguments.data());
      ::_exit(127);
    }
    broker_.emplace(std::move(sockets.broker));
  }

  pid_t pid_ = -1;
  bool exited_ = false;
  std::optional<BrokerSide> broker_;
};

TEST(WorkerProcess, EndsWhenTheBrokerHangsUp) {
  Process worker;
  ASSERT_TRUE(worker.broker().read_one());
  worker.hang_up();
  EXPECT_EQ(worker.exit_status(kExitLimit), 0);
}

TEST(WorkerProcess, EndsWhenTheBrokerHangsUpWhileTheEngineHangs) {
  Process worker;
  worker.make_hot();
  worker.generate(1, "!hang 3 !count 9");
  worker.broker().read_until([&] { return !worker.broker().heard[1].text.empty(); });
  worker.hang_up();
  EXPECT_EQ(worker.exit_status(kExitLimit), 0);
}

TEST(WorkerProcess, EndsWhenItIsStoppedWhileALoadHangs) {
  Process worker;
  worker.broker().attach_fake(1, "m", R"(, "script": "!hang load")");
  worker.broker().send(2, contract::LoadModel{"m"});
  worker.broker().read_until([&] { return !worker.broker().heard[2].stages.empty(); });
  worker.broker().send(0, contract::StopWorker{});
  EXPECT_EQ(worker.exit_status(kExitLimit), 0);
}

TEST(WorkerProcess, DiesOfACrashOnRequestAndClosesTheLink) {
  Process worker;
  worker.make_hot();
  worker.generate(1, "!crash 2 !count 9");
  while (worker.broker().read_one()) {
  }
  EXPECT_EQ(worker.broker().heard[1].replies, 0);
  const int status = worker.exit_status(kExitLimit);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) << status;
}

TEST(WorkerProcess, SaysWhyAndEndsWhenTheDeviceIsLost) {
  Process worker;
  worker.make_hot();
  worker.generate(1, "!lost 2 !count 9");
  while (worker.broker().read_one()) {
  }
  EXPECT_EQ(worker.broker().heard[1].code(), "worker_lost");
  ASSERT_TRUE(worker.broker().last_words);
  EXPECT_EQ(worker.broker().last_words->cause, "sticky");
  EXPECT_NE(worker.broker().last_words->what.find("step 2"), std::string::npos);
  EXPECT_EQ(WEXITSTATUS(worker.exit_status(kExitLimit)), 70);
}

TEST(WorkerProcess, SaysOfADeviceThatIsGoneThatItIs) {
  Process worker;
  worker.make_hot();
  worker.generate(1, "!gone 2 !count 9");
  while (worker.broker().read_one()) {
  }
  EXPECT_EQ(worker.broker().heard[1].code(), "device_failed");
  ASSERT_TRUE(worker.broker().last_words);
  EXPECT_EQ(worker.broker().last_words->cause, "device_lost");
}

// The phases of a beat that says the same for two seconds, of an engine that hangs.
TEST(WorkerProcess, ItsBeatsShowWhereItHangs) {
  Process worker;
  worker.make_hot();
  worker.generate(1, "!hang 3 !count 9");
  const auto& beats = worker.broker().beats;
  const auto hangs = [&] { return !beats.empty() && beats.back().since_ms >= 1900; };
  worker.broker().read_until(hangs);
  EXPECT_EQ(beats.back().phase, "decode");
  EXPECT_EQ(beats.back().model, "m");
  EXPECT_EQ(beats.back().steps, beats[beats.size() - 2].steps);
}

// The thread that loads waits for the engine's meanwhile: were it busy, too, the broker would hear
// two numbers of steps by turns and take that for work.
TEST(WorkerProcess, AModelThatHangsOnItsWayBackShowsAsOneThatDoesNotMove) {
  Process worker;
  worker.broker().attach_fake(1, "m", R"(, "image_bytes": 4096, "script": "!hang restore")");
  ASSERT_TRUE(worker.broker().load(2, "m").loaded);
  worker.broker().send(3, contract::RestModel{"m"});
  ASSERT_TRUE(worker.broker().end_of(3).unloaded);
  auto& beats = worker.broker().beats;
  beats.clear();
  worker.broker().send(4, contract::LoadModel{"m"});
  worker.broker().read_until([&] { return !beats.empty() && beats.back().since_ms >= 2500; });
  std::set<std::uint64_t> steps;
  for (const contract::Beat& beat : beats) {
    if (beat.since_ms < 500) continue;
    EXPECT_EQ(beat.phase, "load");
    EXPECT_EQ(beat.model, "m");
    steps.insert(beat.steps);
  }
  EXPECT_EQ(steps.size(), 1U);
}

TEST(WorkerProcess, ItBeatsWhileNobodyWantsAnything) {
  Process worker;
  worker.broker().read_until([&] { return worker.broker().beats.size() >= 3; });
  EXPECT_EQ(worker.broker().beats.back().phase, "idle");
  EXPECT_TRUE(worker.broker().beats.back().device_state.source.empty());
}

TEST(WorkerProcess, TellsItsSlots) {
  Process worker({"--slots", "7"});
  ASSERT_TRUE(worker.broker().read_one());
  EXPECT_EQ(worker.broker().ready->slots, 7U);
}

TEST(WorkerProcess, IgnoresTheInterruptOfATerminal) {
  Process worker;
  worker.make_hot();
  worker.generate(1, "!wait step 1 !count 40");
  worker.broker().read_until([&] { return !worker.broker().heard[1].text.empty(); });
  worker.signal(SIGINT);
  EXPECT_TRUE(worker.broker().end_of(1).generated);
}

}  // namespace
}  // namespace hearth::worker
