// The program that could take the broker's place is asked: what it says, and how the loop fares.
#include <filesystem>
#include <fstream>
#include <optional>

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/broker/net/successor.h"
#include "tests/unit/broker_for_test.h"
#include "tests/unit/loop_for_test.h"

namespace hearth::broker {
namespace {

class SuccessorTest : public testing::Test {
 protected:
  // `script` may use $here, the test's folder.
  void ask(const std::string& script) {
    const std::string program = folder.write(
        "successor", "#!/bin/sh\nhere='" + folder.path() + "'\necho $$ >\"$here/pid.new\"\n" +
                         "mv \"$here/pid.new\" \"$here/pid\"\n" + script + "\n");
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    const auto asking = [this, program]() -> asio::awaitable<void> {
      answer.emplace(co_await ask_successor(loop, program, {}));
    };
    asio::co_spawn(loop, asking(), asio::detached);
    EXPECT_TRUE(run_until(loop, [&] { return answer.has_value(); }));
  }
  // 0 until it is known.
  pid_t pid_of_successor() const {
    pid_t pid = 0;
    std::ifstream(folder.path() + "/pid") >> pid;
    return pid;
  }

  TemporaryFolder folder;
  asio::io_context loop;
  std::optional<Result<handover::Program>> answer;
};

TEST_F(SuccessorTest, ItsLineIsItsAnswerAndNothingIsLeftOfIt) {
  ask("echo 'hearthd 9.9 state 3 reads 2 readable 1' >&3");
  ASSERT_TRUE(*answer) << answer->error().what;
  EXPECT_EQ((*answer)->version, "9.9");
  EXPECT_EQ((*answer)->format, 3u);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "no child that nobody has waited for";
}

TEST_F(SuccessorTest, OneThatEndsWithoutAWordIsUnfitWithItsStatus) {
  ask("exit 3");
  ASSERT_FALSE(*answer);
  EXPECT_EQ(answer->error().code, Code::kVersion);
  EXPECT_NE(answer->error().what.find("it exited with status 3"), std::string::npos)
      << answer->error().what;
}

TEST_F(SuccessorTest, OneThatDoesNotStopTalkingIsHeardNoFurther) {
  ask("while echo 'hearthd hearthd hearthd hearthd'; do :; done >&3");
  ASSERT_FALSE(*answer);
  EXPECT_EQ(answer->error().code, Code::kVersion) << answer->error().what;
}

// The parent of a process that another one traces cannot wait for its end before that one has: as
// with one that the kernel holds.
class Tracer {
 public:
  explicit Tracer(const TemporaryFolder& folder) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(pipe(ends), 0);
    pid_ = fork();
    if (pid_ == 0) {
      ::close(ends[1]);
      trace(folder.path(), ends[0]);
    }
    ::close(ends[0]);
    alive_ = Fd(ends[1]);
  }
  ~Tracer() {
    if (alive_) let_go();
  }
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  void let_go() {
    alive_.reset();
    EXPECT_EQ(waitpid(pid_, nullptr, 0), pid_);
  }

 private:
  [[noreturn]] static void trace(const std::string& folder, int owner) {
    pid_t pid = 0;
    while (!(std::ifstream(folder + "/pid") >> pid)) usleep(1000);
    const bool is_held = ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) == 0;
    std::ofstream(folder + (is_held ? "/held" : "/free"));
    char byte = 0;
    (void)!read(owner, &byte, 1);  // until the owner lets go
    _exit(0);
  }

  pid_t pid_ = 0;
  Fd alive_;
};

TEST_F(SuccessorTest, OneThatTheKernelHoldsKeepsNobodyWaiting) {
  Tracer tracer(folder);
  int looks = 0;
  asio::steady_timer timer(loop);
  std::function<void(SystemError)> look = [&](SystemError) {
    ++looks;
    timer.expires_after(Milliseconds(10));
    timer.async_wait(look);
  };
  look({});
  ask("until [ -e \"$here/held\" ] || [ -e \"$here/free\" ]; do sleep 0.01; done; exit 3");
  if (std::filesystem::exists(folder.path() + "/free")) GTEST_SKIP() << "ptrace is not allowed";
  ASSERT_FALSE(*answer);
  EXPECT_EQ(answer->error().code, Code::kTimedOut);
  const pid_t pid = pid_of_successor();
  EXPECT_NE(answer->error().what.find(std::to_string(pid)), std::string::npos)
      << answer->error().what;
  EXPECT_GT(looks, 20) << "the loop went on";
  EXPECT_EQ(kill(pid, 0), 0) << "it is still there";
  tracer.let_go();
  EXPECT_TRUE(run_until(loop, [&] { return kill(pid, 0) != 0; })) << "it is waited for at last";
}

}  // namespace
}  // namespace hearth::broker
