// Pinned memory as a ledger: what the images of models' weights take of its budget, and which of
// them give way.
//
// A model that leaves the device rests when its image is there or finds room: then its return is a
// copy. An image is charged from the moment the worker is told to make it until it is told to
// forget it. Images of less worth give way to one of more: what their models' return would cost
// without them counts, by memory_cost.h.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// Since somebody last used it.
Milliseconds idle_time(Core& core, const Model& model);

// Of all images.
std::uint64_t warm_bytes(Core& core);

// Whether `model`, which is hot, would come back by a copy if it left: it has an image or could
// have one.
bool could_rest(const Core& core, const Model& model);
// What an image of `model`, which is hot, is worth: the more, the dearer its return without one.
double worth_of_image(Core& core, const Model& model);
// Whether `model` may rest now. Images of less worth are forgotten for its own, which may remove
// their models when nobody needs them any more.
bool make_room_for_image(Core& core, const Model& model);
// Gives the image up. A model that rests is cold then.
void forget_image(Core& core, Model& model);

}  // namespace hearth::broker
