#include "daemon/broker/suspend.h"

#include <algorithm>
#include <utility>

#include "daemon/broker/core.h"
#include "daemon/broker/counts.h"
#include "daemon/broker/residency.h"
#include "daemon/broker/results.h"
#include "daemon/broker/schedule.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

using Phase = Suspension::Phase;

constexpr Milliseconds kWorkerEnd{3'000};  // for an engine process that was told to end

void fall_asleep(Core& core) {
  core.suspension.phase = Phase::kAsleep;
  core.suspension.deadline = TimePoint::max();
  log::info("suspended: the device is released, {} requests wait", core.queue.size());
  contract::Done done;
  done.text = "The device is released; requests wait.";
  for (const Caller caller : std::exchange(core.suspension.callers, {})) core.reply(caller, done);
}

void wake(Core& core) {
  core.suspension = {};
  log::info("resumed");
  if (core.supervisor.is_ready()) {
    for (Model* model : core.models.all()) advance(core, *model);
    return dispatch(core);
  }
  // Who waits is told by the next attempt, should this one fail.
  if (auto started = core.supervisor.resume(); !started) log::warning("{}", started.error().what);
}

bool is_worker_at_work(const Core& core) {
  return is_any_job_running(core) || is_any_count_sent(core);
}

void lose_sight_of_worker(Core& core, const Error& error) {
  core.engine = {};
  core.engine_refused = false;
  put_jobs_back(core, error);
  results_lose_worker(core);
  sent_counts_lose_worker(core, error);
  models_leave_worker(core);
}

// From here on nothing of the worker counts; what is left is that its process ends.
void end_worker(Core& core) {
  const bool was_ready = core.supervisor.is_ready();
  const bool is_there = core.supervisor.suspend();
  lose_sight_of_worker(core, fail(Code::kWorkerLost,
                                  "The machine goes to sleep, and the request had begun to answer "
                                  "but not ended in time.",
                                  "Send the request again: it is served when the machine wakes."));
  if (!is_there) return fall_asleep(core);
  core.suspension.phase = Phase::kEnding;
  core.suspension.deadline = core.now() + kWorkerEnd;
  core.timer.wake_at(core.suspension.deadline);
  if (was_ready) return core.worker.send(make_frame(0, contract::StopWorker{}));
  core.worker.kill();  // it does not listen yet
}

}  // namespace

void suspend(Core& core, Caller caller, Milliseconds timeout) {
  Suspension& suspension = core.suspension;
  suspension.callers.push_back(caller);
  suspension.wakes_when_ended = false;
  if (suspension.phase == Phase::kAsleep) return fall_asleep(core);
  if (suspension.phase == Phase::kEnding) return;
  log::info("suspending; requests at work have {} ms", timeout.count());
  suspension.phase = Phase::kFinishing;
  suspension.deadline = core.now() + timeout;
  core.timer.wake_at(suspension.deadline);
}

bool end_suspension(Core& core) {
  Suspension& suspension = core.suspension;
  if (!suspension.is_on()) return false;
  for (const Caller caller : std::exchange(suspension.callers, {}))
    core.fail(caller, fail(Code::kCancelled, "The service was resumed before it was suspended.",
                           "Suspend it again, if that was not meant."));
  if (suspension.phase == Phase::kEnding) {
    suspension.wakes_when_ended = true;
  } else {
    wake(core);
  }
  return true;
}

void suspend_tick(Core& core) {
  Suspension& suspension = core.suspension;
  if (suspension.deadline == TimePoint::max()) return;
  const bool is_late = core.now() >= suspension.deadline;
  if (suspension.phase == Phase::kFinishing && (is_late || !is_worker_at_work(core)))
    return end_worker(core);
  if (!is_late) return core.timer.wake_at(suspension.deadline);
  log::warning("the engine process does not end; it is ended by force");
  suspension.deadline = TimePoint::max();
  core.worker.kill();
}

void worker_left(Core& core, const Error& error) {
  if (core.suspension.phase == Phase::kFinishing) {  // of itself
    core.supervisor.suspend();
    lose_sight_of_worker(core, error);
  }
  if (core.suspension.wakes_when_ended && !core.stopping) return wake(core);
  fall_asleep(core);
}

}  // namespace hearth::broker
