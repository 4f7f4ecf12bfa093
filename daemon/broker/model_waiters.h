// Those who wait for something to become of a model, and how they hear of it: offers until it is
// recognised, loads and jobs until it is hot, unloads until it has left.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// All who offered it hold it from now on.
void answer_offerers(Core& core, Model& model);
void answer_loaders(Core& core, Model& model);
// `resident`: it stays in memory after all.
void answer_unloaders(Core& core, Model& model, bool resident);
// Everybody but the unloaders hears that nothing comes of it.
void end_waiting(Core& core, Model& model, const Error& error);
// Tells everybody who waits for the model how its loading goes.
void show_loading(Core& core, const Model& model, const contract::Progress& progress);

}  // namespace hearth::broker
