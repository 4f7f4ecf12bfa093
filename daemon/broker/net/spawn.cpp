#include "daemon/broker/net/spawn.h"

#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace hearth::broker {
namespace {

class Attributes {
 public:
  Attributes() {
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&value_);
    posix_spawnattr_setsigmask(&value_, &none);
    posix_spawnattr_setsigdefault(&value_, &all);
    posix_spawnattr_setpgroup(&value_, 0);
    posix_spawnattr_setflags(
        &value_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~Attributes() { posix_spawnattr_destroy(&value_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  const posix_spawnattr_t* get() const { return &value_; }

 private:
  posix_spawnattr_t value_;
};

class FileActions {
 public:
  explicit FileActions(int socket) {
    posix_spawn_file_actions_init(&value_);
    posix_spawn_file_actions_addopen(&value_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&value_, STDERR_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&value_, socket, kLinkFd);
    close_from(kLinkFd + 1);
  }
  ~FileActions() { posix_spawn_file_actions_destroy(&value_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  const posix_spawn_file_actions_t* get() const { return &value_; }

 private:
  // Our own descriptors are closed by exec anyway; whoever started us may have left others open.
  void close_from([[maybe_unused]] int first) {
#if __GLIBC_PREREQ(2, 34)
    posix_spawn_file_actions_addclosefrom_np(&value_, first);
#endif
  }

  posix_spawn_file_actions_t value_;
};

// Ends with a null pointer; points into `defaults` and into our own environment.
std::vector<char*> environment_with(std::vector<std::string>& defaults) {
  std::vector<char*> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) entries.push_back(*entry);
  for (std::string& entry : defaults)
    if (std::getenv(entry.substr(0, entry.find('=')).c_str()) == nullptr)
      entries.push_back(entry.data());
  entries.push_back(nullptr);
  return entries;
}

}  // namespace

Result<pid_t> spawn(std::vector<std::string> words, int socket, std::vector<std::string> defaults) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<char*> environment = environment_with(defaults);
  const FileActions actions(socket);
  const Attributes attributes;
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, argv[0], actions.get(), attributes.get(), argv.data(), environment.data());
  if (error == 0) return pid;
  return fail(Code::kWorkerLost,
              fmt::format("The engine {} cannot be started: {}.", words[0], std::strerror(error)),
              "Name it with --worker PATH.");
}

std::string describe_exit(int status) {
  if (WIFEXITED(status)) return fmt::format("it exited with status {}", WEXITSTATUS(status));
  if (WIFSIGNALED(status)) return fmt::format("it was ended by {}", strsignal(WTERMSIG(status)));
  return "it ended";
}

}  // namespace hearth::broker
