#include "daemon/broker/memory_ladder.h"

#include <algorithm>

#include <fmt/format.h>

#include "daemon/broker/core.h"
#include "daemon/broker/room.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

constexpr std::size_t kMostHolders = 12;

std::string gib(std::uint64_t bytes) {
  return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / static_cast<double>(1ull << 30));
}

// Of a GPU, what programs hold that are not the service; 0: nobody knows.
std::uint64_t foreign_bytes(const Core& core, std::uint64_t own_bytes) {
  const contract::DeviceState& state = core.telemetry.device;
  if (core.engine.device.kind != "cuda" || !state.memory_used_bytes) return 0;
  const std::uint64_t own = std::max(own_bytes, state.torch_kept_bytes.value_or(0));
  return *state.memory_used_bytes > own ? *state.memory_used_bytes - own : 0;
}

}  // namespace

bool climb(Core& core, const Model& model, bool retried) {
  ++core.ladder.lacks;
  if (retried) {
    ++core.ladder.failures;
    return false;
  }
  const bool evicted = make_more_room(core, model);
  if (evicted) ++core.ladder.evictions;
  log::warning("{} ({}): the device lacks memory; {}", printable(model.name), model.id,
               evicted ? "an idle model leaves before the next try"
                       : "no model is idle that could leave before the next try");
  return true;
}

bool is_any_leaving(Core& core) {
  const std::vector<Model*> all = core.models.all();
  return std::any_of(all.begin(), all.end(),
                     [](const Model* model) { return model->stage == Stage::kLeaving; });
}

Error with_holders(Core& core, const Model& model, const Error& error) {
  std::vector<Model*> holders = core.models.all();
  std::erase_if(holders, [](const Model* each) { return charged_bytes(*each) == 0; });
  std::stable_sort(holders.begin(), holders.end(), [](const Model* a, const Model* b) {
    return charged_bytes(*a) > charged_bytes(*b);
  });
  std::string table;
  for (std::size_t i = 0; i < std::min(holders.size(), kMostHolders); ++i)
    table += fmt::format("{}{} {}", i == 0 ? "" : ", ", printable(holders[i]->name),
                         gib(charged_bytes(*holders[i])));
  if (holders.size() > kMostHolders)
    table += fmt::format(", {} more", holders.size() - kMostHolders);
  if (const std::uint64_t foreign = foreign_bytes(core, charged_bytes(core)); foreign > 0)
    table += fmt::format("{}other programs {}", table.empty() ? "" : ", ", gib(foreign));
  return fail(Code::kOutOfMemory,
              fmt::format("{} lacks memory: {} Held: {}.", printable(model.name),
                          printable(error.what), table.empty() ? "nothing" : table),
              "Unload a model (`hearth unload`), end programs that use the device, or choose a "
              "smaller precision (dtype int8 or int4).");
}

bool lacks_room(const InFrame& terminal) {
  if (terminal.type != contract::Error::kType) return false;
  const auto error = read_body<contract::Error>(terminal);
  return error && error->retryable && parse_code(error->code) == Code::kOutOfMemory;
}

}  // namespace hearth::broker
