// Moves models between their stages: files at the worker, weights in its memory, gone again.
//
// A model that its last holder gave up leaves memory. One whose holders only disconnected stays hot
// for their return, until another needs the room; so does one that is held and idle (room.h). What
// leaves for another rests in pinned memory if there is room for it (warm.h). Public models stay
// known whatever happens. What the engine answers, model_calls.h takes; who waits, model_waiters.h
// answers.
//
// Every function may end requests and remove the model it is given when nobody needs it any more.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// Takes the next step that somebody wants for this model, if the worker is ready for one.
void advance(Core& core, Model& model);

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

// Errors: quarantined, when this model has ended the engine process too often.
Result<void> check_quarantine(Core& core, const Model& model);

}  // namespace hearth::broker
