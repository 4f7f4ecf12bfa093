// Keeps an engine process alive: starts it, gives it time to get ready, restarts it with back-off.
#pragma once

#include <string_view>

#include "daemon/broker/config.h"
#include "daemon/broker/ports.h"

namespace hearth::broker {

class Supervisor {
 public:
  enum class State { kStarting, kReady, kRestarting, kFailed, kSuspended, kStopped };

  Supervisor(const Config& config, WorkerPort& worker, TimerPort& timer);

  // Errors: the program cannot be started now; it is tried again after the back-off.
  Result<void> start();
  void ready();
  // The process is gone; a new one starts after the back-off. `refused`: it said that it cannot
  // start here, so trying soon again is of no use.
  void gone(bool refused);
  // After gone(): no process for `pause`, or until retry_now().
  void give_up(Milliseconds pause);
  // Starts a process at the next tick if it is only waited for that.
  void retry_now();
  // Whether something should have been done that was not: ticks do not come.
  bool is_overdue(Milliseconds grace) const;
  // Ends the supervision: whatever dies from now on stays dead.
  void stop();
  Result<void> tick();  // errors as start()
  // No process until resume(); one that is there shall be ended. Whether there is one.
  bool suspend();
  // Starts one, when that of before is gone. Errors: as start().
  Result<void> resume();

  bool is_ready() const { return state_ == State::kReady; }
  State state() const { return state_; }
  std::string_view state_name() const;  // as in status_report; "restarting" for the last two
  pid_t pid() const { return pid_; }
  std::uint32_t restarts() const { return lost_; }
  // How long after its end the last process was, or will be, followed by a new one.
  Milliseconds restart_delay() const { return restart_delay_; }

 private:
  friend struct handover::Access;
  static constexpr int kFailuresToGiveUpHope = 3;
  static constexpr std::chrono::seconds kHealthyAfter{10};

  void retry_later();

  const Config& config_;
  WorkerPort& worker_;
  TimerPort& timer_;
  State state_ = State::kStarting;
  pid_t pid_ = 0;
  std::uint32_t lost_ = 0;
  int failed_starts_ = 0;
  Milliseconds back_off_;  // of the next end
  Milliseconds restart_delay_;
  TimePoint ready_at_;
  TimePoint deadline_ = TimePoint::max();  // to be ready, or to start again
};

}  // namespace hearth::broker
