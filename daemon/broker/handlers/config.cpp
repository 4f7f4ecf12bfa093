// show_config, reload_config.
#include "daemon/broker/handlers/handlers.h"
#include "daemon/broker/reload.h"
#include "daemon/broker/rights.h"

namespace hearth::broker {
namespace {

constexpr std::size_t kMostListed = 1024;

// Names of people and places, and what others are allowed: for administrators.
bool is_private(const config::Row& row) {
  return row.type == config::Type::kText || row.type == config::Type::kUsers ||
         config::is_pattern(row);
}

contract::ConfigValue entry_of(const std::string& key, const config::Setting& setting) {
  const config::Row& row = *config::find_row(key);
  contract::ConfigValue entry;
  entry.key = key;
  entry.value = config::to_toml(row, setting.value);
  if (!config::is_pattern(row)) entry.usual_value = config::to_toml(row, config::usual_value(row));
  entry.origin = setting.origin;
  entry.takes_effect = std::string(config::to_string(row.takes_effect));
  return entry;
}

}  // namespace

void handle(Core& core, Client& client, Request request, const contract::ShowConfig&) {
  contract::ConfigList list;
  std::size_t bytes = 0;
  const bool sees_all = may_administer(core, client);
  for (const std::string& key : core.config.settings.keys()) {
    if (!sees_all && is_private(*config::find_row(key))) continue;
    contract::ConfigValue entry = entry_of(key, *core.config.settings.find(key));
    bytes += key.size() + entry.value.size() + entry.origin.size();
    if (list.values.size() == kMostListed || bytes > kMostReplyBytes) break;
    list.values.push_back(std::move(entry));
  }
  if (sees_all) list.files = core.config.files;
  client.port->send(make_frame(request.caller.request_id, list));
}

void handle(Core& core, Client& client, Request request, const contract::ReloadConfig& message) {
  if (auto allowed = check_administrator(core, client, "Reading the configuration again"); !allowed)
    return core.refuse(client, request.caller.request_id, allowed.error());
  const Caller caller = core.open(client, request.caller.request_id, RequestKind::kReload);
  if (auto begun = begin_reload(core, caller, message.apply); !begun)
    core.fail(caller, begun.error());
}

}  // namespace hearth::broker
