// status.
#include <algorithm>
#include <limits>

#include "daemon/broker/handlers/handlers.h"
#include "daemon/broker/handlers/reports.h"
#include "daemon/broker/idle.h"
#include "daemon/broker/log_place.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/process_use.h"
#include "daemon/broker/rights.h"
#include "daemon/broker/room.h"
#include "daemon/broker/warm.h"

namespace hearth::broker {
namespace {

// Entries of one list. The longest 512 models and 512 clients take less than half a frame.
constexpr std::size_t kMaxListed = 512;
constexpr std::size_t kMaxQuarantined = 64;

std::string_view state_of(const Model& model) {
  switch (model.stage) {
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

std::uint32_t results_of(const Core& core, const Client& client) {
  std::size_t n = 0;
  for (const ArenaId id : client.out_arenas) n += core.out_arenas.at(id).held.size();
  return static_cast<std::uint32_t>(n);
}

contract::ClientEntry entry_of(Core& core, const Client& client) {
  contract::ClientEntry entry;
  entry.connection = client.id;
  entry.client = client.name;
  entry.pid = client.peer.pid;
  entry.uid = client.peer.uid;
  entry.stalled = client.stalled;
  entry.open_requests = static_cast<std::uint32_t>(client.open.size());
  entry.arenas = client.arenas_asked;
  entry.arena_bytes = client.arena_bytes;
  entry.results = results_of(core, client);
  entry.connected_ms =
      static_cast<std::uint64_t>(milliseconds_between(client.connected, core.now()));
  entry.served = client.served;
  entry.failed = client.failed;
  entry.generated_tokens = client.generated_tokens;
  return entry;
}

void add_worker(const Core& core, contract::StatusReport& report) {
  report.worker_state = std::string(core.supervisor.state_name());
  report.worker_pid = core.supervisor.pid();
  report.worker_restarts = core.supervisor.restarts();
  if (core.supervisor.is_ready()) report.devices.push_back(core.engine.device);
  report.slots = core.engine.slots;
  report.running = core.running;
  report.queued = static_cast<std::uint32_t>(core.queue.size());
}

void add_memory(Core& core, contract::StatusReport& report) {
  report.memory_bytes = charged_bytes(core);
  const std::uint64_t budget = memory_budget_bytes(core);
  if (budget != std::numeric_limits<std::uint64_t>::max()) report.memory_budget_bytes = budget;
  report.warm_bytes = warm_bytes(core);
  report.warm_budget_bytes = core.config.warm_memory_bytes;
  report.caches.push_back(core.results.use());
  for (const contract::CacheEntry& cache : core.caches)
    if (report.caches.size() < kMaxListed) report.caches.push_back(cache);
}

// What those look at who look after the service.
void add_duty(Core& core, const Client& client, contract::StatusReport& report) {
  report.mode = std::string(mode_word(core));
  report.may_administer = may_administer(core, client);
  report.log = log_place();
  report.generated_tokens = core.tokens.total();
  report.tokens_per_second = core.tokens.per_second(core.now());
  for (const Quarantine::Refusal& refusal : core.quarantine.refusals(core.now())) {
    if (report.quarantined.size() == kMaxQuarantined) break;
    contract::QuarantineEntry entry;
    entry.model = refusal.model;
    if (const Model* model = core.models.find(refusal.model)) entry.name = model->name;
    entry.operation = std::string(word_of(refusal.op));
    entry.deaths = static_cast<std::uint32_t>(refusal.deaths);
    entry.left_ms = static_cast<std::uint64_t>(refusal.left.count());
    report.quarantined.push_back(std::move(entry));
  }
}

}  // namespace

contract::ModelEntry entry_of(Core& core, const Model& model) {
  contract::ModelEntry entry;
  entry.model = model.id;
  entry.name = model.name;
  entry.family = model.family;
  entry.dtype = model.arithmetic.empty() ? model.numerics.dtype : model.arithmetic;
  entry.state = std::string(state_of(model));
  entry.resident_bytes = charged_bytes(model);
  entry.image_bytes = model.image_bytes;
  entry.loads = model.loads;
  entry.holders = static_cast<std::uint32_t>(model.holders.size());
  entry.is_public = model.is_public;
  entry.pinned = model.pinned;
  const bool was_used = model.last_used != TimePoint{};
  if (was_used && !model.is_at_work())
    entry.idle_ms = static_cast<std::uint64_t>(idle_time(core, model).count());
  if (const auto left = leaves_in(core, model))
    entry.leaves_in_ms = static_cast<std::uint64_t>(left->count());
  return entry;
}

std::vector<const Model*> models_for(Core& core, const Client& client) {
  const std::vector<Model*> all = core.models.all();
  std::vector<const Model*> models(all.begin(), all.end());
  std::stable_partition(models.begin(), models.end(), [&](const Model* model) {
    return model->is_public || model->holders.contains(client.id);
  });
  models.resize(std::min(models.size(), kMaxListed));
  return models;
}

void handle(Core& core, Client& client, Request request, const contract::Status&) {
  contract::StatusReport report;
  report.server = core.config.server;
  report.boot_id = core.config.boot_id;
  report.uptime_ms = static_cast<std::uint64_t>(milliseconds_between(core.started, core.now()));
  add_worker(core, report);
  report.upgrades = core.upgrades;
  report.served = core.served;
  report.failed = core.failed;
  report.arenas = static_cast<std::uint32_t>(core.arenas.size() + core.out_arenas.size());
  report.arena_bytes = core.arenas.total_bytes() + core.out_arenas.total_bytes();
  report.results = static_cast<std::uint32_t>(core.out_arenas.results());
  report.result_bytes = core.out_arenas.result_bytes();
  report.rss_bytes = rss_bytes();
  report.descriptors = open_descriptors();
  add_memory(core, report);
  add_telemetry(core, client, report);
  add_duty(core, client, report);
  for (const Model* model : models_for(core, client))
    report.models.push_back(entry_of(core, *model));
  report.clients.push_back(entry_of(core, client));
  for (const auto& [id, each] : core.clients)
    if (each.greeted && id != client.id && report.clients.size() < kMaxListed)
      report.clients.push_back(entry_of(core, each));
  client.port->send(make_frame(request.caller.request_id, report));
}

}  // namespace hearth::broker
