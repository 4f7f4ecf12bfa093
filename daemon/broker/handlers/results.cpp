// release.
#include "daemon/broker/results.h"

#include "daemon/broker/handlers/handlers.h"

namespace hearth::broker {

void handle(Core& core, Client& client, Request request, const contract::Release& message) {
  if (auto released = release_slots(core, client, message.slots); !released)
    return core.refuse(client, request.caller.request_id, released.error());
  client.port->send(make_frame(request.caller.request_id, contract::Released{}));
}

}  // namespace hearth::broker
