#include "daemon/broker/engine_end.h"

#include <set>
#include <utility>

#include <fmt/format.h>

#include "daemon/broker/observe.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

using Suspect = std::pair<std::string, Op>;

std::set<Suspect> all_at_work(const Core& core) {
  std::set<Suspect> suspects;
  for (const auto& [id, job] : core.jobs)
    if (job.running) suspects.insert({job.model, Op::kGenerate});
  // A prompt that is only counted is made ready like any other.
  for (const auto& [id, count] : core.counts)
    if (count.body.empty()) suspects.insert({count.model, Op::kGenerate});
  for (const auto& [id, call] : core.model_calls)
    if (!call.unload) suspects.insert({call.model, call.op});
  return suspects;
}

// Holds the end against the models that were at work; the one that alone can have caused it.
RestartBudget::Suspect blame(Core& core, const std::optional<Verdict>& verdict) {
  std::set<Suspect> suspects = all_at_work(core);
  if (verdict && verdict->suspect) suspects = {*verdict->suspect};
  std::set<std::string> models;
  for (const auto& [model, op] : suspects) models.insert(model);
  for (const auto& [model, op] : suspects)
    core.quarantine.died(model, op, models.size() == 1, core.now());
  return suspects.size() == 1 ? RestartBudget::Suspect(*suspects.begin()) : std::nullopt;
}

// An end that is a refused model's fault is never counted, not even when that model has been given
// another try since.
bool counts(const Core& core, const RestartBudget::Suspect& suspect, TimePoint now) {
  return !suspect || !core.quarantine.refused(suspect->first, now);
}

Error device_gone(const std::string& words) {
  return fail(Code::kDeviceFailed, words,
              "Look at the system's log for NVRM or Xid lines; most often the machine has to be "
              "restarted. The service looks for the device again by itself.");
}

Error given_up(const Core& core, const std::string& how) {
  const auto minutes = RestartBudget::kPause.count();
  return fail(Code::kDeviceFailed,
              fmt::format("The engine process ended more than {} times within {} minutes, last: "
                          "{}. It is started again in {} minutes.",
                          core.config.restart_budget, RestartBudget::kWindow.count(), how, minutes),
              "The service's log has the reasons; `hearth resume` starts the engine at once.");
}

}  // namespace

void end_engine(Core& core, Verdict verdict) {
  if (core.verdict) return;
  log::error("the engine process is ended: {}", verdict.what);
  core.liveness.end();
  core.verdict = std::move(verdict);
  core.worker.kill();
}

bool is_farewell(Core& core, const InFrame& frame) {
  if (frame.type != contract::Error::kType) return false;
  const auto error = read_body<contract::Error>(frame);
  const auto code = error ? parse_code(error->code) : std::nullopt;
  if (code != Code::kWorkerLost && code != Code::kDeviceFailed) return false;
  core.liveness.expect_end(core.now());
  return true;
}

bool engine_beat(Core& core, const InFrame& frame) {
  auto beat = read_body<contract::Beat>(frame);
  if (!beat) return false;
  if (!beat->device_state.source.empty()) observe_device(core, beat->device_state);
  if (auto verdict = core.liveness.beat(*beat, core.config.silence, core.now()))
    end_engine(core, *std::move(verdict));
  return true;
}

bool engine_last_words(Core& core, const InFrame& frame) {
  auto words = read_body<contract::LastWords>(frame);
  if (!words) return false;
  log::error("the engine process ends itself ({}): {}", words->cause, one_line(words->what));
  core.last_words = *std::move(words);
  core.liveness.expect_end(core.now());
  return true;
}

Error engine_gone(Core& core, const std::string& how) {
  core.liveness.end();
  const auto verdict = std::exchange(core.verdict, std::nullopt);
  const auto words = std::exchange(core.last_words, std::nullopt);
  const bool was_ready = core.supervisor.is_ready();
  const std::string why = verdict ? verdict->what : words ? one_line(words->what) : how;
  const bool device_lost = words && words->cause == "device_lost";
  const RestartBudget::Suspect suspect = device_lost ? std::nullopt : blame(core, verdict);
  if (was_ready && !device_lost && counts(core, suspect, core.now()))
    core.restarts.died(suspect, core.now());
  if (device_lost) core.engine_refusal = device_gone(why);
  const bool refused = std::exchange(core.engine_refused, false) || device_lost;
  if (!refused) core.engine_refusal.reset();
  core.supervisor.gone(refused);
  core.engine = {};
  const bool asked_for = core.stopping || core.suspension.phase == Suspension::Phase::kEnding;
  if (!refused && core.restarts.is_spent(core.config.restart_budget, core.quarantine, core.now())) {
    core.engine_refusal = given_up(core, why);
    core.supervisor.give_up(RestartBudget::kPause);
    log::error("{}", core.engine_refusal->what);
  }
  const Error lost = fail(Code::kWorkerLost, fmt::format("The engine process ended: {}.", why));
  const Error told = core.engine_refusal.value_or(lost);
  if (!asked_for) {
    log::event(log::Level::kError, "engine_gone", {{"how", why}}, "the engine process is gone: {}",
               why);
    observe_worker_end(core, refused ? "refused" : "died");
    observe_fault(core, told);
  }
  return told;
}

void liveness_tick(Core& core) {
  if (auto verdict = core.liveness.tick(core.config.silence, core.now()))
    end_engine(core, *std::move(verdict));
  if (core.liveness.next_tick() != TimePoint::max()) core.timer.wake_at(core.liveness.next_tick());
}

void retry_engine(Core& core) {
  core.restarts.clear();
  core.supervisor.retry_now();
}

}  // namespace hearth::broker
