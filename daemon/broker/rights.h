// Who may look after the service: root, the user it runs as, the administrators of its settings by
// user id, and the members of its admin group, as the kernel knew them when they connected.
#pragma once

#include <string_view>

#include "daemon/broker/core.h"

namespace hearth::broker {

bool may_administer(const Core& core, const Client& client);

// Errors: denied, saying who may. `what` begins the sentence: "Draining the service".
Result<void> check_administrator(const Core& core, const Client& client, std::string_view what);

// Whether one of this client's user's connections holds the model.
bool holds_as_user(const Core& core, const Client& client, const Model& model);

// "an administrator (user 0, process 4711)", "hearth (process 4711)": who did something to another
// program's work, for `affected`, the user it belongs to.
std::string describe_actor(const Client& client, uid_t affected);

}  // namespace hearth::broker
