#include "daemon/broker/rights.h"

#include <algorithm>

#include <fmt/format.h>

namespace hearth::broker {
namespace {

template <class T>
bool contains(const std::vector<T>& values, T value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

std::string who_may(const Config& config) {
  std::string text = fmt::format("root, user {} who runs the service", config.own_user);
  for (const uid_t user : config.admins) text += fmt::format(", user {}", user);
  if (config.admin_group) text += fmt::format(" and members of group {}", *config.admin_group);
  return text;
}

}  // namespace

bool may_administer(const Core& core, const Client& client) {
  const Config& config = core.config;
  const Peer& peer = client.peer;
  if (peer.uid == 0 || peer.uid == config.own_user || contains(config.admins, peer.uid))
    return true;
  return config.admin_group && contains(peer.groups, *config.admin_group);
}

Result<void> check_administrator(const Core& core, const Client& client, std::string_view what) {
  if (may_administer(core, client)) return {};
  return fail(Code::kDenied, fmt::format("{} is for administrators: {}; this is user {}.", what,
                                         who_may(core.config), client.peer.uid));
}

bool holds_as_user(const Core& core, const Client& client, const Model& model) {
  return std::any_of(model.holders.begin(), model.holders.end(), [&](ConnectionId id) {
    const auto holder = core.clients.find(id);
    return holder != core.clients.end() && holder->second.peer.uid == client.peer.uid;
  });
}

std::string describe_actor(const Client& client, uid_t affected) {
  if (client.peer.uid != affected)
    return fmt::format("an administrator (user {}, process {})", client.peer.uid, client.peer.pid);
  return fmt::format("{} (process {})", client.name.empty() ? "a program" : printable(client.name),
                     client.peer.pid);
}

}  // namespace hearth::broker
