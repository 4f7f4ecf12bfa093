// Gives waiting jobs to the worker while it has a free slot, and ends them.
//
// A job of several answers or beams counts as many slots. It is given to the worker as soon as one
// is free and waits there for the others, which nobody who comes later can take from it: so wide
// jobs do not starve, and nobody waits for more than what was given before.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// Accepts a job for a model that its caller may use. Its request must be open.
void enqueue(Core& core, Job job);
// Dispatches while the worker has free slots and hot models are wanted.
void dispatch(Core& core);

// The worker's frames for a job. Token and progress bodies are passed on as they are.
void job_event(Core& core, Job& job, InFrame frame);
void job_computed(Core& core, Job& job);
void job_ended(Core& core, Job& job, const InFrame& terminal);  // removes the job

// A waiting job ends at once, a running one when the worker says so. Idempotent.
void cancel_job(Core& core, Job& job);

// All of them; running ones end when the worker says so.
void cancel_all_jobs(Core& core);
bool is_any_job_running(const Core& core);

// Ends every job that waits for this model.
void fail_waiting_jobs(Core& core, Model& model, const Error& error);
// The model has become hot: loading is over for the jobs and requests that waited for it.
void account_loading(Core& core, const Model& model);

// The worker is gone: every job ends.
void jobs_lose_worker(Core& core, const Error& error);
// It has been let go: running jobs of which nothing was told yet wait again, before the others of
// their clients; the rest of the running ones end. Those that wait go on waiting.
void put_jobs_back(Core& core, const Error& error);

// Drops an arena: at once, or when the last job that reads it has ended. Its bytes count until
// then.
void drop_arena(Core& core, ArenaId id);

}  // namespace hearth::broker
