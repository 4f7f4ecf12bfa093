// What the broker's core needs of the outside, as small interfaces: net/ implements them with
// sockets, processes and threads, tests with vectors.
//
// Everything here is called on the loop's thread and never calls back into the core before it
// returns; what happens later arrives as an input of Broker.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include <sys/types.h>

#include "daemon/broker/message.h"

namespace hearth::broker {

namespace handover {
struct Access;  // saves and loads what survives an upgrade: handover/fields.h
}

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Milliseconds = std::chrono::milliseconds;

using ConnectionId = std::uint64_t;
using JobId = std::uint32_t;
using ArenaId = std::uint32_t;

// Who is at the other end, as the kernel knew it when it connected. Unknown: nobody's user id.
struct Peer {
  pid_t pid = 0;
  uid_t uid = static_cast<uid_t>(-1);
  std::vector<gid_t> groups = {};  // of the process; its primary one first
};

// One client's connection.
class ClientPort {
 public:
  virtual ~ClientPort() = default;
  virtual void send(OutFrame frame) = 0;
  // From now on a body may have kMaxFrameBytes instead of kMaxGreetingBytes.
  virtual void allow_large_frames() = 0;
  // Sends what is queued, then closes. No frame of this client reaches the core any more.
  virtual void close() = 0;
};

// The engine process. At most one lives at a time.
class WorkerPort {
 public:
  virtual ~WorkerPort() = default;
  // Starts a process; worker frames and worker_gone() follow. Errors: worker_lost, when it cannot
  // even be started (worker_gone() does not follow then).
  virtual Result<pid_t> start() = 0;
  virtual void send(OutFrame frame) = 0;
  // Ends it by force; worker_gone() follows.
  virtual void kill() = 0;
};

class TimerPort {
 public:
  virtual ~TimerPort() = default;
  virtual TimePoint now() = 0;
  // Asks for a Broker::tick() at `when` or earlier.
  virtual void wake_at(TimePoint when) = 0;
};

// System calls that can block for long (fallocate) or, on a hostile descriptor, for ever (fstat,
// close) run on threads of their own: one lane for shared memory, one for files that clients name,
// one for the service's own (settings, metrics.file, kept weights), which so wait for no client's.
class OffLoop {
 public:
  using Ticket = std::uint64_t;
  using Continuation = std::function<void()>;
  using Work = std::function<Continuation()>;
  enum class Lane { kMemory, kClientFiles, kOwnFiles };

  virtual ~OffLoop() = default;
  // Runs `work` on the lane's thread, then what it returns on the loop. 0: the lane takes no more.
  virtual Ticket run(Lane lane, Work work) = 0;
  // The work takes too long: its continuation is dropped and the lane goes on with a new thread.
  virtual void abandon(Ticket ticket) = 0;
  // Shares a descriptor that a client sent, so that its last owner closes it off the loop.
  virtual SharedFd adopt(Fd fd) = 0;
};

}  // namespace hearth::broker
