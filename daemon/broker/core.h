// The state of the broker, and the few things that every part of it does: answer, refuse, give up.
//
// One thread. The parts that act on it are free functions in residency.h, schedule.h and handlers/.
// A reference to a Client, Model or Job stays valid until the current input has been handled,
// except where a function says that it removes one.
#pragma once

#include <deque>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/broker/accounts.h"
#include "daemon/broker/arenas.h"
#include "daemon/broker/clients.h"
#include "daemon/broker/config.h"
#include "daemon/broker/drain.h"
#include "daemon/broker/fair_queue.h"
#include "daemon/broker/jobs.h"
#include "daemon/broker/liveness.h"
#include "daemon/broker/memory_ladder.h"
#include "daemon/broker/models.h"
#include "daemon/broker/out_arenas.h"
#include "daemon/broker/quarantine.h"
#include "daemon/broker/restart_budget.h"
#include "daemon/broker/result_cache.h"
#include "daemon/broker/supervisor.h"
#include "daemon/broker/suspend.h"
#include "daemon/broker/telemetry.h"
#include "daemon/broker/token_rate.h"

namespace hearth::broker {

struct Ports {
  WorkerPort& worker;
  TimerPort& timer;
  OffLoop& off_loop;
};

// What the worker is asked to do with a model, under a job id of its own.
struct ModelCall {
  Op op = Op::kAttach;
  bool unload = false;
  std::string model;
};

// A free_memory request whose models are on their way out.
struct FreeCall {
  Caller caller;
  std::set<std::string> awaited;  // ids
  contract::MemoryFreed freed;    // so far
};

// A count_tokens request, under a job id of its own. It needs no slot, and no loaded model.
struct CountCall {
  Caller caller;
  std::string model;
  std::string body;  // packed, its model id resolved; emptied when the worker has it
  uid_t user = 0;
  bool is_orphan = false;  // nobody wants the answer, but the worker is at it: its user still pays
};

// The configuration is being read again, off the loop.
struct Reload {
  Caller caller;  // of no connection: asked for by a signal
  OffLoop::Ticket ticket = 0;
  TimePoint deadline;
  bool apply = true;
};

// The replacement of this process by the program that is installed: wanted, until it has happened
// or failed. Then the askers are answered.
struct Upgrade {
  bool is_wanted = false;
  std::vector<Caller> askers;
};

// A field that is added here, or to what this holds, is added to handover/fields.h as well.
struct Core {
 private:
  friend struct handover::Access;
  Config config_;

 public:
  Core(Config config, Ports ports);

  const Config& config = config_;
  WorkerPort& worker;
  TimerPort& timer;
  OffLoop& off_loop;
  TimePoint started;
  // The same by the wall's clock, read once: that clock may be set, and the other one stands still
  // while the machine sleeps.
  std::uint64_t started_unix_ms;

  Clients clients;
  Accounts accounts;
  Arenas arenas;
  OutArenas out_arenas;
  Models models;
  Jobs jobs;
  std::unordered_map<JobId, ModelCall> model_calls;
  std::unordered_map<JobId, CountCall> counts;
  std::vector<FreeCall> free_calls;
  std::vector<contract::CacheEntry> caches;  // of the worker, as it last reported them
  FairQueue queue;
  Recent recent;
  ResultCache results;
  Quarantine quarantine;
  Supervisor supervisor;
  Telemetry telemetry;
  contract::WorkerReady engine;  // of the present worker; slots 0 while there is none

  std::deque<JobId> left_jobs;  // whose callers are gone and may come back, longest gone first

  bool places_due = false;  // somebody's place in the queue may have changed
  TimePoint places_next;    // when callers may next be told
  TimePoint next_heartbeat = TimePoint::max();

  std::uint32_t running = 0;            // jobs that hold slots of the worker
  std::uint32_t held_slots = 0;         // of all of them; may exceed the worker's by one job's
  std::uint64_t arena_bytes_asked = 0;  // of all clients, granted and pending
  std::uint64_t served = 0;
  std::uint64_t failed = 0;
  TokenRate tokens;
  Draining draining;
  Suspension suspension;
  std::optional<Reload> reload;
  bool reload_again = false;  // asked for by a signal meanwhile
  bool stop_wanted = false;   // an administrator's drain is done, and the service shall end
  bool stopping = false;
  bool stopped = false;
  std::string stop_reason;
  TimePoint drain_deadline = TimePoint::max();
  ConnectionId last_connection = 0;
  JobId last_job = 0;
  // Of both directions. Rises over the whole life of the broker: no id means two arenas, whatever
  // the connection.
  ArenaId last_arena = 0;
  std::uint64_t last_request = 0;
  std::uint64_t last_examination = 0;
  // Why the engine cannot start, in the words of the last process that tried.
  std::optional<Error> engine_refusal;
  bool engine_refused = false;  // the present process said so
  Liveness liveness;            // of the present process
  RestartBudget restarts;
  std::optional<Verdict> verdict;                 // why the present process is being ended
  std::optional<contract::LastWords> last_words;  // of the present process
  LadderCounts ladder;

  std::uint32_t upgrades = 0;  // of this service, while its clients stayed connected
  Upgrade upgrade;

  TimePoint now() { return timer.now(); }
  JobId next_job_id();
  // Says when the service will be gone, while it is stopping.
  contract::Goaway goaway();

  // Goes on with other values, of which those that something was made of must be the same. Those
  // who keep copies are told.
  void reconfigure(Config next);

  // Opens a request under an id that is not in use. `tensors` count for its user until it ends. The
  // answer's way.
  Caller open(Client& client, std::uint32_t request_id, RequestKind kind,
              std::uint32_t tensors = 0);
  // The open request behind `caller`, or null: it has ended, or its client is gone.
  OpenRequest* find_open(Caller caller);

  // Ends an open request with its one terminal frame. Nothing happens when it has ended before.
  template <class M>
  void reply(Caller caller, const M& message, std::vector<SharedFd> fds = {}) {
    finish(caller, make_frame(caller.request_id, message, std::move(fds)));
  }
  void fail(Caller caller, const Error& error);
  void finish(Caller caller, OutFrame terminal);

  // An event of an open request.
  void event(Caller caller, OutFrame frame);

  // The request no longer counts; whoever calls this has removed it, or will.
  void uncount(const Client& client, const OpenRequest& request);

  // Answers a frame that opened nothing with an error. Where that error would end another request
  // (its id is in use) or the connection (id 0), the connection ends.
  void refuse(Client& client, std::uint32_t request_id, const Error& error);
  // Sends `error` as the connection's last frame. The client is removed after the current input.
  void end_connection(Client& client, const Error& error);

 private:
  std::uint32_t retry_after_ms(Code code) const;
};

double milliseconds_between(TimePoint from, TimePoint to);
std::uint64_t unix_ms();  // now, by the wall's clock

}  // namespace hearth::broker
