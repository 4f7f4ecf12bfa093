// What is at work and what waits, for whoever looks from outside, and its end from there.
//
// A job is a generate or encode request, a count_tokens request, or a load_model request that waits
// for its model; all have ids of one row of numbers.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// Running first, then in the order in which they will be served, then loads and counts that wait;
// at most 1024. Administrators see all, others those of their user.
contract::JobList list_jobs(Core& core, const Client& client);

// Ends a job as its own client can; that client is told who did it. Returns what was ended, for
// people. Errors: bad_request, when there is none; denied, when it is another user's.
Result<std::string> cancel_listed_job(Core& core, const Client& client, JobId id);

}  // namespace hearth::broker
