#include "daemon/broker/fair_queue.h"

#include <algorithm>

namespace hearth::broker {

void FairQueue::push(ConnectionId client, JobId job) {
  std::deque<JobId>& jobs = waiting_[client];
  if (jobs.empty()) round_.push_back(client);
  jobs.push_back(job);
  ++size_;
}

bool FairQueue::remove(ConnectionId client, JobId job) {
  const auto waiting = waiting_.find(client);
  if (waiting == waiting_.end()) return false;
  std::deque<JobId>& jobs = waiting->second;
  const auto place = std::find(jobs.begin(), jobs.end(), job);
  if (place == jobs.end()) return false;
  jobs.erase(place);
  --size_;
  if (jobs.empty()) {
    waiting_.erase(waiting);
    round_.remove(client);
  }
  return true;
}

}  // namespace hearth::broker
