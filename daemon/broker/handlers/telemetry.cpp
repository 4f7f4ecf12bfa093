// list_requests, metrics.
#include "daemon/broker/handlers/handlers.h"
#include "daemon/broker/observe.h"
#include "daemon/broker/rights.h"

namespace hearth::broker {

void handle(Core& core, Client& client, Request request, const contract::ListRequests& message) {
  std::optional<uid_t> user;
  if (!may_administer(core, client)) user = client.peer.uid;
  client.port->send(make_frame(request.caller.request_id,
                               core.telemetry.records.page(message.before, message.limit, user)));
}

void handle(Core& core, Client& client, Request request, const contract::Metrics&) {
  contract::MetricsText reply;
  reply.text = metrics_text(core);
  client.port->send(make_frame(request.caller.request_id, reply));
}

}  // namespace hearth::broker
