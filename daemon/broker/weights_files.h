// Which file keeps a model's rounded weights: handed to the worker before each load, named when it
// was written, replaced when it was damaged.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// Before load_model. Nothing for a model without a file.
void send_weights_file(Core& core, const Model& model);
// weights_cached. False: not a message that it may send.
bool weights_cached(Core& core, const InFrame& frame);

}  // namespace hearth::broker
