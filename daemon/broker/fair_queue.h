// Jobs that wait for a slot: first in, first out for each client, clients in turn.
#pragma once

#include <deque>
#include <list>
#include <unordered_map>

#include "daemon/broker/ports.h"

namespace hearth::broker {

class FairQueue {
 public:
  void push(ConnectionId client, JobId job);
  // Removes the job wherever it stands; false when it does not wait here.
  bool remove(ConnectionId client, JobId job);
  std::size_t size() const { return size_; }

  // Takes the next job for which `may_run(job)` holds: of the clients in turn, the earliest such
  // job. 0 when there is none. The client served goes to the end of the round.
  template <class MayRun>
  JobId take(MayRun may_run) {
    for (auto turn = round_.begin(); turn != round_.end(); ++turn) {
      const ConnectionId client = *turn;
      for (const JobId job : waiting_[client]) {
        if (!may_run(job)) continue;
        round_.splice(round_.end(), round_, turn);
        remove(client, job);
        return job;
      }
    }
    return 0;
  }

 private:
  std::unordered_map<ConnectionId, std::deque<JobId>> waiting_;
  std::list<ConnectionId> round_;  // exactly the clients with waiting jobs
  std::size_t size_ = 0;
};

}  // namespace hearth::broker
