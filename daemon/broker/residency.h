// Moves models between their stages: files at the worker, weights in its memory, gone again.
//
// A model that its last holder gave up leaves memory. One whose holders only disconnected stays hot
// for their return, until another needs the room; so does one that is held and idle (room.h). What
// leaves for another rests in pinned memory if there is room for it (warm.h). Public models stay
// known whatever happens.
//
// Every function may end requests and remove the model it is given when nobody needs it any more.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// Takes the next step that somebody wants for this model, if the worker is ready for one.
void advance(Core& core, Model& model);

// Frames of the worker that answer a ModelCall. `error` frames come through model_call_failed.
void model_attached(Core& core, Model& model, const contract::ModelOffered& reply);
void model_loaded(Core& core, Model& model, const contract::ModelLoaded& reply);
void model_unloaded(Core& core, Model& model, const contract::ModelUnloaded& reply);
void model_call_failed(Core& core, const ModelCall& call, const Error& error);
// Tells everybody who waits for the model how its loading goes.
void show_loading(Core& core, const Model& model, const contract::Progress& progress);

// `client` holds nothing any more; its pending requests about models are forgotten.
void release_models_of(Core& core, ConnectionId client);
// `client` uses the model from now on, until give_up() or its end.
void hold(Model& model, ConnectionId client);
// Ends the hold of `caller` and answers its unload_model; the last holder's model leaves memory.
void give_up(Core& core, Model& model, Caller caller);
// Takes an idle, loaded model out of memory.
void unload(Core& core, Model& model);
// The same, but its weights stay in pinned memory, which make_room_for_image() has found.
void rest(Core& core, Model& model);
// Removes `caller` from whatever it waits for at this model.
void stop_waiting(Core& core, Model& model, Caller caller);

// The worker is ready: what waited for it goes on. Gone: everybody who waits is answered.
void models_meet_worker(Core& core);
void models_lose_worker(Core& core, const Error& error);
// It has been let go, and another follows: who waits goes on waiting.
void models_leave_worker(Core& core);

// Ends examinations of files that take too long.
void examinations_tick(Core& core);
Error files_do_not_answer(const Core& core);

// Errors: quarantined, when this model has ended the engine process too often.
Result<void> check_quarantine(Core& core, const Model& model);

}  // namespace hearth::broker
