// Results in shared memory on their way from the worker to a client and back: lent, held, released.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// Tells the worker whose this job is: which user's caches it may use, and whose arenas its results
// go to. Before the job is sent.
void assign(Core& core, const Job& job);

// The worker has made an arena for a client, or taken an empty one back. False: it cannot have.
bool lend_arena(Core& core, InFrame frame);
bool take_back_arena(Core& core, const InFrame& frame);

// Makes the worker's tensors the client's: their arenas get the broker's ids, and from now on the
// job's caller, whose request must be open, holds them. Errors: internal, when the worker names
// memory that it did not lend to this client; then the worker has been told to free the rest.
Result<void> hand_over(Core& core, const Job& job, std::vector<contract::Tensor>& tensors);
// Nobody waits for these tensors of the worker any more: it may reuse their memory.
void return_unwanted(Core& core, const std::vector<contract::Tensor>& tensors);

// Frees results of a client. All or nothing; errors: bad_request, naming a slot it does not hold.
Result<void> release_slots(Core& core, Client& client, const std::vector<contract::Slot>& slots);

// The client is gone, taken out of the clients already and its jobs cancelled: nothing of it may
// stay, in the ledgers or at the worker.
void forget_results_of(Core& core, const Client& client);
// The worker is gone, and its end of all arenas with it.
void results_lose_worker(Core& core);

}  // namespace hearth::broker
