#include "daemon/broker/handover/replace.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <sys/wait.h>

namespace hearth::broker::handover {
namespace {

constexpr std::string_view kDeleted = " (deleted)";

sigset_t asking_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, signal);
  return set;
}

int most_descriptors() {
  int most = STDERR_FILENO;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error))
    most = std::max(most, std::atoi(entry.path().filename().c_str()));
  return most + 1;
}

std::vector<pid_t> children() {
  std::vector<pid_t> pids;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
    std::ifstream list(task.path() / "children");
    for (pid_t pid = 0; list >> pid;) pids.push_back(pid);
  }
  return pids;
}

}  // namespace

Role take_role(int& argc, char** argv) {
  Role role;
  const std::string_view word = argc > 1 ? argv[1] : "";
  role.is_asked = word == kCanTakeOver;
  if (word.starts_with(kTakeOver)) role.take_over = std::atoi(word.data() + kTakeOver.size());
  if (role.is_asked || role.take_over >= 0) {
    std::copy(argv + 2, argv + argc + 1, argv + 1);  // with the null pointer at the end
    --argc;
  }
  role.arguments.assign(argv + 1, argv + argc);
  return role;
}

std::string own_program() {
  std::error_code error;
  std::string path = std::filesystem::read_symlink("/proc/self/exe", error).string();
  if (path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());
  return path;
}

bool set_close_on_exec(std::span<const int> descriptors, bool close) {
  bool all = true;
  for (const int fd : descriptors) all = ::fcntl(fd, F_SETFD, close ? FD_CLOEXEC : 0) == 0 && all;
  return all;
}

Error replace_process(const std::string& program, const std::vector<std::string>& arguments,
                      const Fd& memfd, const std::vector<int>& descriptors) {
  std::vector<std::string> words = {program, std::string(kTakeOver) + std::to_string(memfd.get())};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<int> inherited = descriptors;
  inherited.push_back(memfd.get());
  const sigset_t asking = asking_signals();
  pthread_sigmask(SIG_BLOCK, &asking, nullptr);
  // Also what a library opened without asking for it.
  ::close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);
  int error = EBADF;
  if (set_close_on_exec(inherited, false)) {
    ::execv(program.c_str(), argv.data());
    error = errno;
  }
  set_close_on_exec(inherited, true);
  allow_signals();
  return fail(Code::kInternal, fmt::format("{} cannot be started in place of this process: {}.",
                                           program, std::strerror(error)));
}

void allow_signals() {
  const sigset_t asking = asking_signals();
  pthread_sigmask(SIG_UNBLOCK, &asking, nullptr);
}

void abandon_inheritance() {
  for (const pid_t pid : children()) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  // What was opened since is closed on exec. All descriptors that are inherited are not.
  for (int fd = STDERR_FILENO + 1, end = most_descriptors(); fd < end; ++fd)
    if (::fcntl(fd, F_GETFD) == 0) ::close(fd);
}

}  // namespace hearth::broker::handover
