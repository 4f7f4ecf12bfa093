#include "daemon/broker/handover/state.h"

#include <algorithm>

#include "daemon/broker/broker.h"
#include "daemon/broker/handlers/handlers.h"
#include "daemon/broker/handover/fields.h"
#include "daemon/broker/residency.h"
#include "daemon/broker/schedule.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace handover {
namespace {

// Whoever names something finds it: the core looks such things up and takes them to be there.
void check_references(Loader& loader, Core& core) {
  for (const auto& [id, job] : core.jobs) {
    if (core.models.find(job.model) == nullptr) loader.refuse("a job's model is unknown");
    for (const ArenaId arena : job.arenas)
      if (core.arenas.find(arena) == nullptr) loader.refuse("a job's arena is unknown");
  }
  for (const JobId id : core.queue.order())
    if (!core.jobs.contains(id)) loader.refuse("a job in the queue is unknown");
  for (const Model* model : core.models.all())
    if (model->call != 0 && core.model_calls.contains(model->call) &&
        core.model_calls.at(model->call).model != model->id)
      loader.refuse("a call is about another model");
  for (const auto& [id, client] : core.clients) {
    for (const ArenaId arena : client.arenas)
      if (core.arenas.find_of(id, arena) == nullptr) loader.refuse("a client's arena is unknown");
    for (const ArenaId arena : client.out_arenas)
      if (core.out_arenas.find_of(id, arena) == nullptr)
        loader.refuse("a client's results are unknown");
  }
}

// What a state of format 1 does not say.
std::uint64_t started_by_wall(Core& core) {
  const double up_ms = std::max(0.0, milliseconds_between(core.started, core.now()));
  return unix_ms() - static_cast<std::uint64_t>(up_ms);
}

}  // namespace

void save_core(Saver& saver, Core& core) {
  core.results.set_budget(std::min(core.config.result_cache_bytes, kMostResultBytes));
  saver.value(core);
  core.results.set_budget(core.config.result_cache_bytes);  // should this process go on
}

Result<void> load_core(Loader& loader, Core& core) {
  core.started_unix_ms = 0;
  loader.value(core);
  if (core.started_unix_ms == 0) core.started_unix_ms = started_by_wall(core);
  core.results.set_budget(core.config.result_cache_bytes);  // that of this process
  if (loader.result()) check_references(loader, core);
  return loader.result();
}

}  // namespace handover

void Broker::save(handover::Saver& saver) {
  handover::save_core(saver, core_);
}

Result<void> Broker::restore(handover::Loader& loader) {
  CHECK_OK(handover::load_core(loader, core_));
  // What is public, and whether weights are kept on disk, the configuration of this process says.
  for (Model* model : core_.models.all()) {
    if (std::exchange(model->is_public, false)) were_public_.insert(model->id);
    if (core_.config.weights_cache == nullptr) model->weights_file.reset();
  }
  return {};
}

void Broker::attach(ConnectionId id, ClientPort& port) {
  const auto client = core_.clients.find(id);
  if (client != core_.clients.end()) client->second.port = &port;
}

// What was public and is not any more, of files that were replaced or a configuration that names it
// no longer: nobody can ask for it by name, or unpin it, so a pin would keep the device from what
// took its place.
void Broker::let_unpublished_go() {
  for (const std::string& id : std::exchange(were_public_, {})) {
    Model* model = core_.models.find(id);
    if (model == nullptr || model->is_public) continue;
    model->pinned = false;
    model->leaves_when_idle = model->holders.empty();
  }
}

void Broker::resume() {
  std::vector<ConnectionId> lost;
  for (const auto& [id, client] : core_.clients)
    if (client.port == nullptr) lost.push_back(id);
  for (const ConnectionId id : lost) forget_client(core_, id);
  let_unpublished_go();
  for (Model* model : core_.models.all()) {
    if (model->is_public && model->family.empty()) model->examine_soon = true;
    advance(core_, *model);
  }
  dispatch(core_);
  if (core_.supervisor.is_ready() && !core_.verdict)
    core_.liveness.begin(core_.engine.device.kind == "cpu", core_.now());
  if (core_.last_words) core_.liveness.expect_end(core_.now());
  ++core_.upgrades;
  log::info("{} goes on: {} connections, {} jobs, upgrade {}", core_.config.server,
            core_.clients.size(), core_.jobs.size(), core_.upgrades);
  contract::Done done;
  done.text = core_.config.server + " has taken over";
  for (const Caller asker : std::exchange(core_.upgrade, {}).askers) core_.reply(asker, done);
  tick();  // asks for every wake-up anew
}

void Broker::want_upgrade() {
  core_.upgrade.is_wanted = true;
  upgrade_if_wanted();
}

void Broker::upgrade_if_wanted() {
  if (core_.upgrade.is_wanted && replace_ && !std::exchange(is_replacing_, true)) replace_();
}

void Broker::upgrade_failed(const Error& error) {
  is_replacing_ = false;
  log::error("the upgrade did not happen: {} {}", error.what, error.hint);
  for (const Caller asker : std::exchange(core_.upgrade, {}).askers) core_.fail(asker, error);
}

}  // namespace hearth::broker
