// Requests that come with a key: sent again, they find what became of the first time.
//
// While the job waits or runs, the new request takes its caller's place and hears again what was
// said so far. When it has been answered a short while ago, the answer is sent again. Only a job
// that ended with an error, or whose result belonged to another connection, runs anew.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// What was asked, without where its tensors lie: equal for a request that is sent again. `message`
// is of this boot, its model an id.
std::uint64_t fingerprint_of(contract::Generate message);
std::uint64_t fingerprint_of(contract::Encode message);

// The events of an answer that was made before: its tensors need not be read, and this was said.
void catch_up(Core& core, const Job& sent, const std::vector<contract::Token>& said);
// All that a reply's answers say, as few events.
std::vector<contract::Token> whole_answers(const contract::Generated& generated);

// True: `sent`, whose request is open, was sent before and has been taken care of.
bool resume(Core& core, const Job& sent);

// Keeps a token event for whoever takes the place of the job's caller.
void keep_said(Job& job, const contract::Token& token);

// The connection of this job's caller is gone. A job that may be asked for again goes on for a
// while; any other is cancelled.
void leave(Core& core, Job& job);

// Whether a job of this connection, which is gone, waits to be asked for again.
bool awaits_return(const Core& core, ConnectionId connection);
// The process at the other end is gone as well: nobody has its keys.
void give_up_left_jobs(Core& core, ConnectionId connection);

// Keeps the answer for whoever sends the request again.
void remember(Core& core, const Job& job, const contract::Generated& reply);
inline void remember(Core&, const Job&, const contract::Encoded&) {
}  // holds memory of a connection

// Cancels what nobody came back for, lets old answers go.
void keys_tick(Core& core);

}  // namespace hearth::broker
