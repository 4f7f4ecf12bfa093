// count_tokens: the worker answers from the files of a model that it knows, loaded or not. Until it
// knows the model, which a new worker does not, the question waits.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// Takes the question of an open request of kind kCount; advance() follows. Its id.
JobId ask_count(Core& core, Model& model, Caller caller, std::string body);
// Whether questions about this model wait for the worker to know it.
bool awaits_counts(const Core& core, const Model& model);
// The worker knows the model.
void send_counts(Core& core, const Model& model);

// The worker's answer, a reply or an error, to the question `id`. False: it makes no sense.
bool count_answered(Core& core, JobId id, const InFrame& frame);

// Ends the questions about `model` that wait.
void fail_waiting_counts(Core& core, const Model& model, const Error& error);
// The worker is gone: every question ends.
void counts_lose_worker(Core& core, const Error& error);
// The same, but those that it had not heard yet wait for the next.
void sent_counts_lose_worker(Core& core, const Error& error);
bool is_any_count_sent(const Core& core);

// Nobody wants the answer any more: of one request, of a whole connection. What the worker is at
// goes on to count as an open request of its user, so that asking and cancelling cannot pile up
// work: check_admission() answers busy.
void drop_count(Core& core, Caller caller);
void drop_counts_of(Core& core, ConnectionId client);

}  // namespace hearth::broker
