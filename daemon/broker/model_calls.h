// What the engine answers when it was asked to attach, load or unload a model (ModelCall).
//
// Every function may end requests and remove the model it is given when nobody needs it any more.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// `error` frames come through model_call_failed.
void model_attached(Core& core, Model& model, const contract::ModelOffered& reply);
void model_loaded(Core& core, Model& model, const contract::ModelLoaded& reply);
void model_unloaded(Core& core, Model& model, const contract::ModelUnloaded& reply);
void model_call_failed(Core& core, const ModelCall& call, const Error& error);

// It has no weights on the device any more.
void leave_memory(Core& core, Model& model, Stage stage);

}  // namespace hearth::broker
