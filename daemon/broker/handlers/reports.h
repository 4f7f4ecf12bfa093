// Small texts and entries that several handlers send.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

contract::ModelEntry entry_of(Core& core, const Model& model);
// As many models as a reply has room for: public ones first, then those `client` holds.
std::vector<const Model*> models_for(Core& core, const Client& client);
Error unknown_model(const std::string& name);

}  // namespace hearth::broker
