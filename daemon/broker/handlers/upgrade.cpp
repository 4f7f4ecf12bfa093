// upgrade.
#include "daemon/broker/handlers/handlers.h"
#include "daemon/broker/rights.h"

namespace hearth::broker {

void handle(Core& core, Client& client, Request request, const contract::Upgrade&) {
  if (auto allowed = check_administrator(core, client, "Upgrading the service"); !allowed)
    return core.refuse(client, request.caller.request_id, allowed.error());
  core.upgrade.askers.push_back(core.open(client, request.caller.request_id, RequestKind::kDuty));
  core.upgrade.is_wanted = true;
}

}  // namespace hearth::broker
