#include "daemon/broker/supervisor.h"

#include <algorithm>

#include <fmt/format.h>

#include "shm/base/log.h"

namespace hearth::broker {

Supervisor::Supervisor(const Config& config, WorkerPort& worker, TimerPort& timer)
    : config_(config),
      worker_(worker),
      timer_(timer),
      back_off_(config.restart_least),
      restart_delay_(config.restart_least) {}

Result<void> Supervisor::start() {
  const Result<pid_t> started = worker_.start();
  if (!started) {
    log::error("{}", started.error().what);
    ++failed_starts_;
    retry_later();
    return started.error();
  }
  pid_ = *started;
  deadline_ = timer_.now() + config_.worker_start;
  timer_.wake_at(deadline_);
  return {};
}

void Supervisor::ready() {
  state_ = State::kReady;
  ready_at_ = timer_.now();
  failed_starts_ = 0;
  deadline_ = TimePoint::max();
}

void Supervisor::gone(bool refused) {
  pid_ = 0;
  if (state_ == State::kStopped || state_ == State::kSuspended) return;
  ++lost_;
  if (state_ != State::kReady)
    ++failed_starts_;
  else if (timer_.now() - ready_at_ >= kHealthyAfter)
    back_off_ = config_.restart_least;
  if (refused) {  // however long it had worked before
    failed_starts_ = kFailuresToGiveUpHope;
    back_off_ = config_.restart_refused;
  }
  retry_later();
}

void Supervisor::retry_later() {
  state_ = failed_starts_ >= kFailuresToGiveUpHope ? State::kFailed : State::kRestarting;
  restart_delay_ = back_off_;
  deadline_ = timer_.now() + restart_delay_;
  timer_.wake_at(deadline_);
  back_off_ = std::min(back_off_ * 2, config_.restart_most);
}

void Supervisor::give_up(Milliseconds pause) {
  if (pid_ != 0 || state_ == State::kStopped || state_ == State::kSuspended) return;
  state_ = State::kFailed;
  restart_delay_ = pause;
  deadline_ = timer_.now() + pause;
  timer_.wake_at(deadline_);
}

void Supervisor::retry_now() {
  if (pid_ != 0 || (state_ != State::kFailed && state_ != State::kRestarting)) return;
  failed_starts_ = 0;
  back_off_ = config_.restart_least;
  state_ = State::kRestarting;
  deadline_ = timer_.now();
  timer_.wake_at(deadline_);
}

bool Supervisor::is_overdue(Milliseconds grace) const {
  return deadline_ != TimePoint::max() && timer_.now() > deadline_ + grace;
}

bool Supervisor::suspend() {
  state_ = State::kSuspended;
  deadline_ = TimePoint::max();
  return pid_ != 0;
}

Result<void> Supervisor::resume() {
  state_ = State::kStarting;
  failed_starts_ = 0;
  back_off_ = config_.restart_least;
  return start();
}

void Supervisor::stop() {
  state_ = State::kStopped;
  deadline_ = TimePoint::max();
}

Result<void> Supervisor::tick() {
  if (deadline_ == TimePoint::max()) return {};
  if (timer_.now() < deadline_) {
    timer_.wake_at(deadline_);
    return {};
  }
  deadline_ = TimePoint::max();
  // A pause is over that was no sign of an engine that cannot start: who asks from now on waits.
  if (state_ == State::kFailed && failed_starts_ < kFailuresToGiveUpHope)
    state_ = State::kRestarting;
  if (pid_ == 0) return start();
  return fail(Code::kWorkerLost,
              fmt::format("it was not ready within {} s",
                          std::chrono::duration<double>(config_.worker_start).count()));
}

std::string_view Supervisor::state_name() const {
  switch (state_) {
    case State::kStarting:
      return "starting";
    case State::kReady:
      return "ready";
    case State::kFailed:
      return "failed";
    case State::kRestarting:
    case State::kSuspended:
    case State::kStopped:
      break;
  }
  return "restarting";
}

}  // namespace hearth::broker
