#include "daemon/broker/net/listener.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

namespace hearth::broker {
namespace {

constexpr int kBacklog = 1024;

Error cannot(std::string_view what, const std::string& path, int error) {
  return fail(Code::kNotReachable,
              fmt::format("Cannot {} {}: {}.", what, path, std::strerror(error)),
              "Choose another place with --socket PATH.");
}

// The last folder of the path is made if it is missing, for this user alone.
Result<void> make_folder(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (folder.empty() || mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return cannot("make the folder", folder, errno);
}

std::string process_in(int lock) {
  char text[32] = {};
  const ssize_t n = pread(lock, text, sizeof(text) - 1, 0);
  return n > 0 ? std::string(text, static_cast<std::size_t>(n)) : "unknown";
}

Result<Fd> lock_path(const std::string& path) {
  const std::string lock_file = path + ".lock";
  Fd lock(::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return cannot("open", lock_file, errno);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(Code::kNotReachable,
                fmt::format("Another hearthd (process {}) already serves {}.",
                            process_in(lock.get()), path),
                "Use that one, stop it, or choose another place with --socket PATH.");
  const std::string pid = std::to_string(getpid());
  if (ftruncate(lock.get(), 0) != 0 || pwrite(lock.get(), pid.data(), pid.size(), 0) < 0)
    return cannot("write", lock_file, errno);
  return lock;
}

// Of a path that is short enough.
sockaddr_un address_of(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof(address.sun_path) - 1));
  return address;
}

// Whether somebody listens there, of whatever kind.
bool is_served(const std::string& path) {
  const sockaddr_un address = address_of(path);
  for (const int kind : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
    const Fd probe(::socket(AF_UNIX, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
        errno == EAGAIN)
      return true;
  }
  return false;
}

// Holding the lock, a socket at the path that nobody serves is a dead daemon's.
Result<void> remove_stale(const std::string& path) {
  struct stat file = {};
  if (lstat(path.c_str(), &file) != 0) return {};
  if (!S_ISSOCK(file.st_mode))
    return fail(Code::kNotReachable,
                fmt::format("{} exists and is {}.", path,
                            S_ISLNK(file.st_mode) ? "a symbolic link" : "not a socket"),
                "Remove it, or choose another place with --socket PATH.");
  if (is_served(path))
    return fail(Code::kNotReachable, fmt::format("Another program listens at {}.", path),
                "Choose another place with --socket PATH.");
  if (unlink(path.c_str()) != 0) return cannot("replace", path, errno);
  return {};
}

Result<Fd> bind_socket(const std::string& path) {
  if (path.size() >= sizeof(sockaddr_un::sun_path)) return cannot("listen on", path, ENAMETOOLONG);
  const sockaddr_un address = address_of(path);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return cannot("make a socket for", path, errno);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(socket.get(), kBacklog) != 0)
    return cannot("listen on", path, errno);
  return socket;
}

std::string path_of(const Fd& socket) {
  sockaddr_un address = {};
  socklen_t size = sizeof(address) - 1;  // so that the path always ends
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return address.sun_path;
}

}  // namespace

Result<Listener> Listener::open(const std::string& path) {
  Listener listener;
  listener.path_ = path;
  if (sd_listen_fds(1) > 0) {
    listener.socket_ = Fd(SD_LISTEN_FDS_START);
    listener.path_ = path_of(listener.socket_);
    return listener;
  }
  CHECK_OK(make_folder(path));
  TRY(Fd lock, lock_path(path));
  CHECK_OK(remove_stale(path));
  TRY(listener.socket_, bind_socket(path));
  listener.lock_ = std::move(lock);
  return listener;
}

Listener Listener::taken_over(int socket, int lock, std::string path) {
  Listener listener;
  listener.socket_ = Fd(socket);
  listener.lock_ = Fd(lock);
  listener.path_ = std::move(path);
  return listener;
}

void Listener::remove() {
  if (!lock_) return;
  unlink(path_.c_str());
  lock_.reset();
}

std::string default_socket_path() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const std::string base = runtime != nullptr && *runtime != '\0' ? runtime : "/run";
  return base + "/hearth/hearth.sock";
}

}  // namespace hearth::broker
