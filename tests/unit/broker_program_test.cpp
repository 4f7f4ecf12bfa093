// The program hearthd, with a script that plays its engine: what it hands on to that process.
#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

// The engine writes down how it was started and ends; the broker starts it again and again.
constexpr const char* kScript = R"(#!/bin/sh
here=$(dirname "$0")
echo "$@" >"$here/words"
ls -l /proc/self/fd >"$here/listing" 2>/dev/null
echo start >>"$here/starts"
)";

class ProgramTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string engine = folder.write("engine", kScript);
    std::filesystem::permissions(engine, std::filesystem::perms::owner_all);
    std::vector<std::string> words = {HEARTH_BIN_DIR "/hearthd",
                                      "--no-ember",
                                      "--socket",
                                      path(),
                                      "--worker",
                                      engine,
                                      "--log-level",
                                      "error"};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ASSERT_EQ(posix_spawn(&pid, argv[0], nullptr, nullptr, argv.data(), environ), 0);
  }
  void TearDown() override {
    if (pid <= 0) return;
    kill(pid, SIGTERM);
    int status = 0;
    waitpid(pid, &status, 0);
  }

  std::string path() const { return folder.path() + "/hearth.sock"; }
  std::string read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(folder.path() + "/" + name).rdbuf();
    return text.str();
  }
  std::size_t starts() const {
    const std::string text = read("starts");
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }
  static bool wait_for(const std::function<bool()>& done) {
    const TimePoint watchdog = Clock::now() + std::chrono::seconds(20);
    bool is_done = done();
    for (; !is_done && Clock::now() < watchdog; is_done = done()) std::this_thread::yield();
    return is_done;
  }
  Fd connect() const {
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path().data(), path().size());
    const bool connected = wait_for([&] {
      return ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    });
    EXPECT_TRUE(connected) << path();
    return socket;
  }
  static void greet(const Fd& socket) {
    contract::Hello hello;
    hello.oldest = contract::kOldestProtocolVersion;
    hello.newest = contract::kProtocolVersion;
    hello.client = "test";
    const std::string body = contract::pack(hello);
    FrameHeader header;
    header.type = contract::Hello::kType;
    header.body_len = static_cast<std::uint32_t>(body.size());
    const FrameHeaderBytes bytes = encode(header);
    const std::string frame(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::string all = frame + body;
    ASSERT_EQ(send(socket.get(), all.data(), all.size(), 0), static_cast<ssize_t>(all.size()));
  }

  TemporaryFolder folder;
  pid_t pid = 0;
};

TEST_F(ProgramTest, EngineGetsTheLogLevel) {
  ASSERT_TRUE(wait_for([&] { return starts() > 0; }));
  EXPECT_NE(read("words").find("--log-level error"), std::string::npos) << read("words");
}

TEST_F(ProgramTest, RestartedEngineGetsNoSocketOfAClient) {
  const Fd client = connect();
  greet(client);
  const std::size_t before = starts();
  ASSERT_TRUE(wait_for([&] { return starts() >= before + 2; }));
  char welcome = 0;
  ASSERT_EQ(recv(client.get(), &welcome, 1, MSG_DONTWAIT), 1) << "it is no client";
  std::istringstream listing(read("listing"));
  for (std::string line; std::getline(listing, line);) {
    if (line.find("socket:") == std::string::npos) continue;
    EXPECT_NE(line.find(" 3 -> "), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace hearth::broker
