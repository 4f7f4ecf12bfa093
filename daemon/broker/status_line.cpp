#include "daemon/broker/status_line.h"

#include <cctype>
#include <limits>

#include <fmt/format.h>

#include "daemon/broker/drain.h"
#include "daemon/broker/health.h"
#include "daemon/broker/room.h"

namespace hearth::broker {
namespace {

// "WARM on cuda (NVIDIA H200), draining"
std::string level_device_and_mode(Core& core) {
  std::string words(name_of(level_of(core)));
  for (char& c : words) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (core.supervisor.is_ready())
    words += fmt::format(" on {} ({})", core.engine.device.kind, core.engine.device.name);
  if (const std::string_view mode = mode_word(core); mode != "serving")
    words += fmt::format(", {}", mode);
  return words;
}

std::string plural(std::size_t n, std::string_view of_one) {
  return fmt::format("{} {}{}", n, of_one, n == 1 ? "" : "s");
}

// "2 models, 1 loading, 5.1 of 8.0 GiB"
std::string models_and_memory(Core& core) {
  constexpr double kGiB = 1ull << 30;
  std::string words = plural(core.models.in_stage(Stage::kHot), "model");
  if (const std::size_t loading = core.models.in_stage(Stage::kLoading); loading > 0)
    words += fmt::format(", {} loading", loading);
  if (const std::size_t refused = core.quarantine.refusals(core.now()).size(); refused > 0)
    words += fmt::format(", {} refused", refused);
  const std::uint64_t budget = memory_budget_bytes(core);
  const double charged_gib = static_cast<double>(charged_bytes(core)) / kGiB;
  if (budget == std::numeric_limits<std::uint64_t>::max())
    return words + fmt::format(", {:.1f} GiB", charged_gib);
  return words +
         fmt::format(", {:.1f} of {:.1f} GiB", charged_gib, static_cast<double>(budget) / kGiB);
}

}  // namespace

std::string status_line(Core& core) {
  std::string line = level_device_and_mode(core) + ": ";
  for (const std::string& fault : faults_of(core)) line += fault + " ";
  if (core.supervisor.is_ready()) line += models_and_memory(core) + ", ";
  return line + fmt::format("{}, {} running, {} waiting", plural(core.clients.size(), "client"),
                            core.running, core.queue.size());
}

}  // namespace hearth::broker
