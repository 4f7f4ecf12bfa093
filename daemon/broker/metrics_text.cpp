// Gauges of the moment, joined with what was counted; and the file that holds both.
#include <cerrno>
#include <chrono>
#include <cstring>
#include <limits>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/broker/health.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/process_use.h"
#include "daemon/broker/rights.h"
#include "daemon/broker/room.h"
#include "daemon/broker/warm.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

constexpr std::chrono::seconds kFileEvery{5};
constexpr std::chrono::seconds kFileLate{20};

template <class N>
double real(N number) {
  return static_cast<double>(number);
}

void add_service(Core& core, MetricSet& set) {
  set.set(Metric::kBuildInfo,
          {core.config.server, std::to_string(contract::kProtocolVersion),
           std::string(contract::kSchemaHash)},
          1);
  set.set(Metric::kStartTime, {}, real(core.started_unix_ms) / 1000);
  set.set(Metric::kHealthLevel, {}, real(static_cast<int>(level_of(core))));
  set.set(Metric::kUpgrades, {}, core.upgrades);
  set.set(Metric::kRunning, {}, core.running);
  set.set(Metric::kSlots, {}, core.engine.slots);
  set.set(Metric::kProcessBytes, {}, real(rss_bytes()));
  set.set(Metric::kProcessDescriptors, {}, open_descriptors());
  for (const Metric counted : {Metric::kLoopStalls, Metric::kLoopStallSeconds})
    set.add(counted, {}, 0);  // shown before the first, too
}

void add_ladder(const LadderCounts& ladder, MetricSet& set) {
  set.set(Metric::kMemoryLadder, {"lack"}, real(ladder.lacks));
  set.set(Metric::kMemoryLadder, {"evict"}, real(ladder.evictions));
  set.set(Metric::kMemoryLadder, {"retry"}, real(ladder.retries));
  set.set(Metric::kMemoryLadder, {"fail"}, real(ladder.failures));
}

std::string_view name_of(Priority priority) {
  if (priority == Priority::kInteractive) return "interactive";
  return priority == Priority::kBatch ? "batch" : "maintenance";
}

void add_queue(const Core& core, MetricSet& set) {
  for (const Priority each : {Priority::kInteractive, Priority::kBatch, Priority::kMaintenance})
    set.set(Metric::kQueueDepth, {std::string(name_of(each))}, 0);
  for (const auto& [id, job] : core.jobs)
    if (!job.running) set.add(Metric::kQueueDepth, {std::string(name_of(job.priority))});
}

std::string_view state_of(Stage stage) {
  switch (stage) {
    case Stage::kLoading:
      return "loading";
    case Stage::kHot:
    case Stage::kLeaving:
      return "hot";
    case Stage::kResting:
      return "warm";
    default:
      return "cold";
  }
}

void add_models(Core& core, MetricSet& set) {
  for (const char* state : {"cold", "loading", "hot", "warm"}) set.set(Metric::kModels, {state}, 0);
  for (const Model* model : core.models.all())
    set.add(Metric::kModels, {std::string(state_of(model->stage))});
}

// A number that nobody knows has no sample.
void add_memory(Core& core, MetricSet& set) {
  const contract::DeviceState& state = core.telemetry.device;
  const std::uint64_t budget = memory_budget_bytes(core);
  const auto add = [&](const char* kind, std::optional<std::uint64_t> bytes) {
    if (bytes) set.set(Metric::kDeviceMemoryBytes, {kind}, real(*bytes));
  };
  add("models", charged_bytes(core));
  if (budget != std::numeric_limits<std::uint64_t>::max()) add("budget", budget);
  if (core.engine.device.memory_bytes > 0) add("total", core.engine.device.memory_bytes);
  add("used", state.memory_used_bytes);
  add("torch_used", state.torch_used_bytes);
  add("torch_kept", state.torch_kept_bytes);
  set.set(Metric::kPinnedMemoryBytes, {"images"}, real(warm_bytes(core)));
  set.set(Metric::kPinnedMemoryBytes, {"budget"}, real(core.config.warm_memory_bytes));
}

void add_device(const contract::DeviceState& state, MetricSet& set) {
  constexpr double kMega = 1e6;
  if (state.clock_mhz) set.set(Metric::kDeviceClock, {}, *state.clock_mhz * kMega);
  if (state.memory_clock_mhz)
    set.set(Metric::kDeviceMemoryClock, {}, *state.memory_clock_mhz * kMega);
  if (state.power_w) set.set(Metric::kDevicePower, {}, *state.power_w);
  if (state.power_limit_w) set.set(Metric::kDevicePowerLimit, {}, *state.power_limit_w);
  if (state.temperature_c) set.set(Metric::kDeviceTemperature, {}, *state.temperature_c);
  for (const std::string& reason : state.throttled_by)
    set.set(Metric::kDeviceThrottled, {reason}, 1);
}

void add_clients(const Core& core, MetricSet& set) {
  for (const auto& [id, client] : core.clients) {
    const std::string uid = std::to_string(client.peer.uid);
    set.add(Metric::kConnections, {uid});
    set.add(Metric::kClientBytes, {uid}, real(client.arena_bytes));
  }
}

void add_shared_memory(const Core& core, MetricSet& set) {
  set.set(Metric::kShmSegments, {"in"}, real(core.arenas.size()));
  set.set(Metric::kShmSegments, {"out"}, real(core.out_arenas.size()));
  set.set(Metric::kShmBytes, {"in"}, real(core.arenas.total_bytes()));
  set.set(Metric::kShmBytes, {"out"}, real(core.out_arenas.total_bytes()));
  std::size_t orphans = 0;
  for (const ArenaId id : core.out_arenas.all())
    if (core.out_arenas.at(id).orphaned) ++orphans;
  set.set(Metric::kShmOrphans, {}, real(orphans));
}

void add_caches(Core& core, MetricSet& set) {
  const auto add = [&](const contract::CacheEntry& cache, const std::string& model) {
    set.add(Metric::kCacheBytes, {cache.name, model}, real(cache.bytes));
    set.add(Metric::kCacheHits, {cache.name, model}, real(cache.hits));
    set.add(Metric::kCacheMisses, {cache.name, model}, real(cache.misses));
  };
  add(core.results.use(), "");
  for (const contract::CacheEntry& cache : core.caches)
    if (const Model* model = core.models.find(cache.model))
      add(cache, core.telemetry.model_words.label_of(model->name));
}

// Replaces the file in one step: a reader finds the old one or the new one, whole. It is for
// whoever collects metrics, so everybody may read it.
Result<void> write_file(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new";
  const auto failed = [&](const char* what) {
    const int why = errno;
    return fail(Code::kBadRequest,
                fmt::format("metrics.file: {} {}: {}.", what, fresh, std::strerror(why)));
  };
  const int how = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  const Fd file(open(fresh.c_str(), how, 0644));
  if (file.get() < 0) return failed("cannot make");
  struct stat status = {};
  if (fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    errno = EEXIST;  // a pipe or a device, which is somebody else's
    return failed("cannot make");
  }
  fchmod(file.get(), 0644);
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t n = write(file.get(), text.data() + written, text.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed("cannot write");
    written += static_cast<std::size_t>(n);
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) return failed("cannot rename");
  return {};
}

void metrics_written(Core& core, const Result<void>& result) {
  core.telemetry.metrics_writing = 0;
  const bool failed_before = std::exchange(core.telemetry.metrics_failing, !result);
  if (!result && !failed_before)
    log::event(log::Level::kWarning, "metrics_not_written", {}, "{}", result.error().what);
}

}  // namespace

std::string metrics_text(Core& core) {
  MetricSet set = core.telemetry.counts;
  add_service(core, set);
  add_queue(core, set);
  add_models(core, set);
  add_memory(core, set);
  add_ladder(core.ladder, set);
  add_device(core.telemetry.device, set);
  add_clients(core, set);
  add_shared_memory(core, set);
  add_caches(core, set);
  return exposition(set);
}

void metrics_tick(Core& core) {
  Telemetry& telemetry = core.telemetry;
  if (core.config.metrics_file.empty()) return;
  if (core.now() >= telemetry.metrics_due) {
    telemetry.metrics_due = core.now() + kFileEvery;
    if (telemetry.metrics_writing != 0 && core.now() >= telemetry.metrics_late) {
      core.off_loop.abandon(telemetry.metrics_writing);
      metrics_written(core, fail(Code::kBadRequest, "metrics.file takes too long to write."));
    }
    if (telemetry.metrics_writing == 0) {
      telemetry.metrics_late = core.now() + kFileLate;
      auto work = [&core, path = core.config.metrics_file,
                   text = metrics_text(core)]() -> OffLoop::Continuation {
        auto result = std::make_shared<Result<void>>(write_file(path, text));
        return [&core, result] { metrics_written(core, *result); };
      };
      telemetry.metrics_writing = core.off_loop.run(OffLoop::Lane::kOwnFiles, std::move(work));
    }
  }
  core.timer.wake_at(telemetry.metrics_due);
}

void add_telemetry(Core& core, const Client& client, contract::StatusReport& report) {
  Health health = health_of(core);
  report.health = name_of(health.level);
  report.health_reasons = std::move(health.reasons);
  std::optional<uid_t> user;
  if (!may_administer(core, client)) user = client.peer.uid;
  report.last_errors = core.telemetry.errors.latest(user);
  report.device_state = core.telemetry.device;
}

}  // namespace hearth::broker
