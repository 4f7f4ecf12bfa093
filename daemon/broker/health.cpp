#include "daemon/broker/health.h"

#include <algorithm>

#include <fmt/format.h>

#include "daemon/broker/drain.h"
#include "daemon/broker/residency.h"
#include "shm/base/text.h"

namespace hearth::broker {
namespace {

constexpr std::size_t kMostReasons = 16;
constexpr std::size_t kMostReasonBytes = 1024;
constexpr std::chrono::seconds kFresh{60};

std::string engine_reason(const Core& core) {
  const std::string why =
      core.engine_refusal
          ? redacted(core.engine_refusal->what + " " + core.engine_refusal->hint, false)
          : "its process ended each time; the log says how.";
  switch (core.supervisor.state()) {
    case Supervisor::State::kFailed:
      return "The engine does not start: " + why;
    case Supervisor::State::kStarting:
      return "The engine is starting.";
    case Supervisor::State::kRestarting:
      return fmt::format("The engine was lost {} and is being started again.",
                         core.supervisor.restarts() == 1
                             ? "once"
                             : fmt::format("{} times", core.supervisor.restarts()));
    default:
      return "The engine is not running.";
  }
}

std::string mode_reason(const Core& core) {
  const std::string_view mode = mode_word(core);
  if (mode == "stopping") return "The service is stopping: " + core.stop_reason + ".";
  if (mode == "suspended")
    return "The service is suspended: requests wait until it is resumed (`hearth resume`).";
  return fmt::format(
      "The service is {}: it takes no new requests until it is resumed (`hearth "
      "resume`).",
      mode == "drained" ? "drained" : "being drained");
}

std::string loading_reason(Core& core) {
  for (const Model* model : core.models.all())
    if (model->stage == Stage::kLoading)
      return fmt::format("{} is being loaded.", printable(model->name));
  return "No model is loaded: the next request loads its own first.";
}

// The device is read while requests run: what it said long ago is no reason.
void add_device_reasons(Core& core, std::vector<std::string>& reasons) {
  if (core.now() - core.telemetry.device_at > kFresh) return;
  for (const std::string& reason : core.telemetry.device.throttled_by)
    if (reason != "unknown" && reason != "power_cap")
      reasons.push_back(fmt::format("The device's clock is held down: {}.", printable(reason)));
}

}  // namespace

std::string_view name_of(HealthLevel level) {
  switch (level) {
    case HealthLevel::kFailed:
      return "failed";
    case HealthLevel::kListening:
      return "listening";
    case HealthLevel::kGpuOk:
      return "gpu_ok";
    case HealthLevel::kLoaded:
      return "loaded";
    case HealthLevel::kWarm:
      return "warm";
  }
  return "failed";
}

HealthLevel level_of(Core& core) {
  if (core.supervisor.state() == Supervisor::State::kFailed) return HealthLevel::kFailed;
  if (!core.supervisor.is_ready()) return HealthLevel::kListening;
  HealthLevel level = HealthLevel::kGpuOk;
  for (const Model* model : core.models.all()) {
    if (model->stage != Stage::kHot) continue;
    if (model->answered) return HealthLevel::kWarm;
    level = HealthLevel::kLoaded;
  }
  return level;
}

std::vector<std::string> faults_of(Core& core) {
  std::vector<std::string> faults;
  const Supervisor::State state = core.supervisor.state();
  const bool is_away_on_purpose =
      state == Supervisor::State::kStopped || state == Supervisor::State::kSuspended;
  if (!core.supervisor.is_ready() && !is_away_on_purpose)
    faults.push_back(cut(engine_reason(core), kMostReasonBytes));
  add_device_reasons(core, faults);
  return faults;
}

Health health_of(Core& core) {
  Health health;
  health.level = level_of(core);
  std::vector<std::string>& reasons = health.reasons;
  if (!core.supervisor.is_ready()) reasons.push_back(engine_reason(core));
  if (health.level == HealthLevel::kGpuOk) reasons.push_back(loading_reason(core));
  if (health.level == HealthLevel::kLoaded)
    reasons.emplace_back("No model has answered since it was loaded: the first request is slower.");
  if (mode_word(core) != "serving") reasons.push_back(mode_reason(core));
  for (const Model* model : core.models.all())
    if (const auto allowed = check_quarantine(core, *model); !allowed)
      reasons.push_back(allowed.error().what);
  add_device_reasons(core, reasons);
  reasons.resize(std::min(reasons.size(), kMostReasons));
  for (std::string& reason : reasons) reason = cut(reason, kMostReasonBytes);
  return health;
}

}  // namespace hearth::broker
