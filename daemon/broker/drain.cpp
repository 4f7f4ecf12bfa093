#include "daemon/broker/drain.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "daemon/broker/core.h"
#include "daemon/broker/ending.h"
#include "daemon/broker/schedule.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

// Requests also end without an input of the core: work off the loop ends them.
constexpr Milliseconds kLookAgain{50};

void say_goodbye(Core& core) {
  for (auto& [id, client] : core.clients)
    if (client.greeted && !client.ended) client.port->send(make_frame(0, core.goaway()));
}

void end_rest(Core& core) {
  const std::vector<Caller> open = open_work(core);
  const Error error =
      fail(Code::kShuttingDown, "The service was drained, and the time for open requests is over.");
  for (const Caller caller : open) end_request(core, caller, error);
  cancel_all_jobs(core);  // those of callers that are gone as well
  finish_drain(core, open.empty() ? "Nothing is open."
                                  : fmt::format("The time was over: {} open requests were ended.",
                                                open.size()));
}

}  // namespace

void drain(Core& core, Caller caller, Milliseconds timeout, bool then_stop) {
  Draining& draining = core.draining;
  const bool was_leaving = is_leaving(core);
  log::info("draining, then {}; open requests have {} ms", then_stop ? "the end" : "a pause",
            timeout.count());
  draining.is_on = true;
  draining.then_stop = then_stop;
  draining.deadline = core.now() + timeout;
  draining.callers.push_back(caller);
  core.timer.wake_at(draining.deadline);
  if (is_leaving(core) && !was_leaving) say_goodbye(core);
  if (draining.is_done) finish_drain(core, "Nothing is open.");
}

bool end_drain(Core& core) {
  const Draining ended = std::exchange(core.draining, {});
  if (!ended.is_on) return false;
  log::info("taking requests again");
  for (const Caller caller : ended.callers)
    core.fail(caller, fail(Code::kCancelled, "The service was resumed before it was drained.",
                           "Drain it again, if that was not meant."));
  return true;
}

void drain_tick(Core& core) {
  Draining& draining = core.draining;
  if (!draining.is_on || draining.is_done) return;
  if (!is_work_open(core) && core.jobs.empty()) return finish_drain(core, "Nothing is open.");
  if (core.now() >= draining.deadline) return end_rest(core);
  core.timer.wake_at(std::min(draining.deadline, core.now() + kLookAgain));
}

void finish_drain(Core& core, std::string_view how) {
  Draining& draining = core.draining;
  if (!draining.is_on) return;
  if (!std::exchange(draining.is_done, true)) log::info("drained. {}", how);
  contract::Done done;
  done.text = std::string(how);
  for (const Caller caller : std::exchange(draining.callers, {})) core.reply(caller, done);
  if (draining.then_stop) core.stop_wanted = true;
}

Result<void> check_taking_requests(const Core& core) {
  if (core.stopping) return fail(Code::kShuttingDown, "The service is stopping.");
  if (!core.draining.is_on) return {};
  return fail(Code::kShuttingDown,
              core.draining.then_stop
                  ? "The service takes no new requests: it ends when the open ones have."
                  : "The service takes no new requests: an administrator has paused it.",
              core.draining.then_stop ? "" : "Send the request again when it has been resumed.");
}

std::string_view mode_word(const Core& core) {
  if (core.stopping) return "stopping";
  if (core.suspension.is_on()) return "suspended";
  if (!core.draining.is_on) return "serving";
  return core.draining.is_done ? "drained" : "draining";
}

bool is_leaving(const Core& core) {
  return core.stopping || (core.draining.is_on && core.draining.then_stop);
}

}  // namespace hearth::broker
