// The socket file: made once, by one daemon, and taken away again.
//
// Two daemons never serve one path: the lock file beside it is held for life. A socket that nobody
// serves any more is replaced; anything else at the path is left alone and refused.
#pragma once

#include <string>

#include "shm/base/fd.h"
#include "shm/base/result.h"

namespace hearth::broker {

class Listener {
 public:
  // The socket systemd passed, else a new one at `path`. Errors: not_reachable, saying why.
  static Result<Listener> open(const std::string& path);
  // The one of the process that this one takes over from. `lock` -1: systemd passed the socket.
  static Listener taken_over(int socket, int lock, std::string path);
  Listener(Listener&&) = default;
  Listener& operator=(Listener&&) = delete;
  ~Listener() { remove(); }

  // Hands the listening descriptor to the caller.
  int release() { return socket_.release(); }
  // Whether this process made the socket: nobody serves it afterwards.
  bool is_ours() const { return static_cast<bool>(lock_); }
  // Removes the socket file, if it is ours. Idempotent.
  void remove();
  int lock() const { return lock_ ? lock_.get() : -1; }
  const std::string& path() const { return path_; }

 private:
  Listener() = default;
  Fd socket_;
  Fd lock_;  // held: the file at path_ is ours
  std::string path_;
};

// $XDG_RUNTIME_DIR/hearth/hearth.sock, else /run/hearth/hearth.sock.
std::string default_socket_path();

}  // namespace hearth::broker
