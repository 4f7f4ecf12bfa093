#include "daemon/broker/reload.h"

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "daemon/broker/idle.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/settings.h"
#include "shm/base/log.h"
#include "shm/base/text.h"

namespace hearth::broker {
namespace {

constexpr Milliseconds kReadingLimit{10'000};
constexpr std::size_t kMostProblemBytes = 2000;  // of one, so that all fit into a frame
constexpr std::size_t kMostChanges = 1024;       // in one report

// Those who keep something that was made of a setting, outside of the core.
void tell_others(Core& core) {
  log::set_level(log_level(core.config.settings));
  if (core.config.weights_cache != nullptr)
    core.config.weights_cache->set_most_bytes(core.config.settings.size("cache.size"));
  warn_of_prompts(core.config.log_prompts);
  core.telemetry.metrics_due = core.now();
  metrics_tick(core);  // metrics.file
  idle_tick(core);     // models.keep_alive
}

void take(Core& core, const config::Loaded& loaded) {
  const config::Settings& running = core.config.settings;
  Config next = configured(core.config, config::with_live(running, loaded.settings));
  next.files = loaded.files;
  next.admin_group = loaded.admin_group;
  core.reconfigure(std::move(next));
  tell_others(core);
}

void log_outcome(const contract::ConfigReport& report) {
  for (const std::string& problem : report.problems) log::error("{}", problem);
  if (!report.problems.empty()) return log::error("the configuration is wrong and stays as it was");
  const auto waits = [](const auto& change) { return change.takes_effect == "restart"; };
  const auto pending = std::count_if(report.changes.begin(), report.changes.end(), waits);
  const auto total = static_cast<std::ptrdiff_t>(report.changes.size());
  if (report.applied)
    log::info("configuration read again: {} settings changed, {} wait for a restart",
              total - pending, pending);
}

void finish(Core& core, const config::Loaded& loaded) {
  const Reload reload = *std::exchange(core.reload, std::nullopt);
  contract::ConfigReport report;
  for (const config::Problem& problem : loaded.problems)
    report.problems.push_back(cut(config::text_of(problem), kMostProblemBytes));
  if (report.problems.empty())
    report.changes = entries_of(config::changes(core.config.settings, loaded.settings));
  report.applied = reload.apply && report.problems.empty();
  if (report.applied) take(core, loaded);
  log_outcome(report);
  core.reply(reload.caller, report);
  if (std::exchange(core.reload_again, false)) reload_soon(core);
}

}  // namespace

Result<void> begin_reload(Core& core, Caller caller, bool apply) {
  if (core.config.sources == nullptr)
    return fail(Code::kBadRequest, "The service was started without a configuration.");
  if (core.reload) return fail(Code::kBusy, "The configuration is being read already.");
  const auto ticket = core.off_loop.run(
      OffLoop::Lane::kOwnFiles, [&core, sources = core.config.sources]() -> OffLoop::Continuation {
        auto loaded = std::make_shared<const config::Loaded>(config::load(*sources));
        return [&core, loaded] { finish(core, *loaded); };
      });
  if (ticket == 0) return fail(Code::kBusy, "Too many files wait to be read.");
  core.reload = Reload{caller, ticket, core.now() + kReadingLimit, apply};
  core.timer.wake_at(core.reload->deadline);
  return {};
}

void reload_soon(Core& core) {
  if (core.reload) {
    core.reload_again = true;
    return;
  }
  if (const auto begun = begin_reload(core, Caller{}, true); !begun)
    log::error("the configuration is not read again: {}", begun.error().what);
}

void reload_tick(Core& core) {
  if (!core.reload) return;
  if (core.now() < core.reload->deadline) return core.timer.wake_at(core.reload->deadline);
  core.off_loop.abandon(core.reload->ticket);
  config::Loaded nothing;
  nothing.problems.push_back({"configuration", fmt::format("the files do not answer within {} ms",
                                                           kReadingLimit.count())});
  finish(core, nothing);
}

std::vector<contract::ConfigChange> entries_of(const std::vector<config::Change>& changes) {
  std::vector<contract::ConfigChange> entries;
  std::size_t bytes = 0;
  for (const config::Change& change : changes) {
    bytes += change.key.size() + change.before.size() + change.after.size() + change.origin.size();
    if (entries.size() == kMostChanges || bytes > kMostReplyBytes) break;
    contract::ConfigChange entry;
    entry.key = change.key;
    entry.before = change.before;
    entry.after = change.after;
    entry.origin = change.origin;
    entry.takes_effect = std::string(config::to_string(change.takes_effect));
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace hearth::broker
