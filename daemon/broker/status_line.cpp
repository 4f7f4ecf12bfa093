#include "daemon/broker/status_line.h"

#include <fmt/format.h>

namespace hearth::broker {
namespace {

std::string mode_of(const Core& core) {
  const std::string word(mode_word(core));
  if (word != "serving") return word;
  if (core.supervisor.is_ready())
    return fmt::format("ready on {} ({})", core.engine.device.kind, core.engine.device.name);
  if (core.supervisor.state() == Supervisor::State::kStarting) return "the engine is starting";
  if (core.engine_refusal) return "the engine cannot start: " + core.engine_refusal->what;
  return fmt::format("the engine ended and is started again (lost {} times)",
                     core.supervisor.restarts());
}

}  // namespace

std::string status_line(const Core& core) {
  const std::size_t loaded = core.models.in_stage(Stage::kHot);
  std::string line =
      fmt::format("{}: {} model{} loaded", mode_of(core), loaded, loaded == 1 ? "" : "s");
  if (const std::size_t loading = core.models.in_stage(Stage::kLoading))
    line += fmt::format(", {} loading", loading);
  return line + fmt::format(", {} request{} running, {} waiting", core.running,
                            core.running == 1 ? "" : "s", core.queue.size());
}

}  // namespace hearth::broker
