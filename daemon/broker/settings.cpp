#include "daemon/broker/settings.h"

#include <algorithm>

#include "shm/segment.h"

namespace hearth::broker {
namespace {

constexpr std::uint64_t kMostWarmBytes = std::uint64_t{8} << 30;

contract::Quota quota_of(const config::Settings& settings) {
  contract::Quota quota;
  quota.connections = settings.integer("quota.default.connections");
  quota.open_requests = settings.integer("quota.default.open_requests");
  quota.arenas = settings.integer("quota.default.arenas");
  quota.arena_bytes =
      settings.size_or_auto("quota.default.memory").value_or(total_memory_bytes() / 2);
  quota.tensors = settings.integer("quota.default.tensors");
  return quota;
}

contract::Quota quota_of(const config::UserQuota& user, const contract::Quota& usual) {
  contract::Quota quota;
  quota.connections = user.connections.value_or(usual.connections);
  quota.open_requests = user.open_requests.value_or(usual.open_requests);
  quota.arenas = user.arenas.value_or(usual.arenas);
  quota.arena_bytes = user.memory_bytes.value_or(usual.arena_bytes);
  quota.tensors = user.tensors.value_or(usual.tensors);
  return quota;
}

// A user who is given more than the usual limit for all clients raises that too.
void carry_quotas(const config::Settings& settings, Config& config) {
  config.user = quota_of(settings);
  config.quotas.clear();
  for (const config::UserQuota& user : settings.user_quotas())
    config.quotas[user.user] = quota_of(user, config.user);
  config.connections = std::max<std::size_t>(kConnections, config.user.connections);
  config.all_arena_bytes = std::max(total_memory_bytes() / 2, config.user.arena_bytes);
  for (const auto& [user, quota] : config.quotas) {
    config.connections = std::max<std::size_t>(config.connections, quota.connections);
    config.all_arena_bytes = std::max(config.all_arena_bytes, quota.arena_bytes);
  }
}

void carry_silence(const config::Settings& settings, SilenceLimits& silence) {
  silence.attach = settings.duration("faults.attach");
  silence.load = settings.duration("faults.load");
  silence.preprocess = settings.duration("faults.preprocess");
  silence.vision = settings.duration("faults.vision");
  silence.prefill = settings.duration("faults.prefill");
  silence.decode = settings.duration("faults.decode");
  silence.beats = settings.duration("faults.beats");
  silence.cpu_factor = static_cast<int>(settings.integer("faults.cpu_factor"));
}

}  // namespace

Config configured(Config base, const config::Settings& settings) {
  Config config = std::move(base);
  config.allowed_users = settings.users("server.allowed_users");
  config.admins = settings.users("server.admins");
  config.drain = settings.duration("server.drain");
  config.heartbeat = settings.duration("server.heartbeat");
  config.restart_most = settings.duration("engine.restart_pause");
  config.restart_budget = static_cast<std::uint32_t>(settings.integer("engine.restart_budget"));
  config.memory_bytes = settings.size_or_auto("engine.memory").value_or(0);
  config.keep_alive = settings.duration("models.keep_alive");
  config.warm_memory_bytes = settings.size_or_auto("models.warm_memory")
                                 .value_or(std::min(total_memory_bytes() / 4, kMostWarmBytes));
  config.result_cache_bytes = settings.size("cache.results");
  config.metrics_file = settings.text("metrics.file");
  config.log_prompts = settings.flag("log.prompts");
  carry_silence(settings, config.silence);
  carry_quotas(settings, config);
  config.pinned_models.clear();
  for (const config::PublishedModel& model : settings.models())
    if (model.pin) config.pinned_models.push_back(model.name);
  config.settings = settings;
  return config;
}

std::vector<NamedFolder> published(const config::Settings& settings) {
  std::vector<NamedFolder> folders;
  for (const config::PublishedModel& model : settings.models())
    folders.push_back({model.name, model.path, model.dtype});
  return folders;
}

log::Level log_level(const config::Settings& settings) {
  return log::level_named(settings.choice("log.level"));
}

void warn_of_prompts(bool are_logged) {
  if (are_logged)
    log::event(log::Level::kWarning, "prompts_are_logged", {},
               "the text of every prompt is written to this log, because log.prompts is set");
}

}  // namespace hearth::broker
