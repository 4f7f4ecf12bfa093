#include "daemon/broker/fair_queue.h"

#include <algorithm>
#include <cassert>

namespace hearth::broker {

void FairQueue::push(const Waiting& waiting, TimePoint now) {
  enter(place_of(waiting, ++last_arrival_), now);
}

void FairQueue::put_back(const Waiting& waiting, TimePoint now) {
  Place& place = place_of(waiting, first_arrival_--);
  enter(place, now);
  class_of(place).lanes.at(waiting.client).credit += place.waiting.cost_tokens;
}

FairQueue::Place& FairQueue::place_of(const Waiting& waiting, std::uint64_t arrival) {
  assert(!places_.contains(waiting.job));
  Place& place = places_[waiting.job];
  place.waiting = waiting;
  place.waiting.cost_tokens = std::max<std::int64_t>(waiting.cost_tokens, 1);
  place.arrival = arrival;
  return place;
}

bool FairQueue::remove(JobId job) {
  const auto found = places_.find(job);
  if (found == places_.end()) return false;
  leave(found->second);
  places_.erase(found);
  return true;
}

void FairQueue::hand_over(JobId job, ConnectionId client) {
  const auto found = places_.find(job);
  if (found == places_.end()) return;
  Place& place = found->second;
  leave_lane(class_of(place), place);
  place.waiting.client = client;
  join_lane(class_of(place), place);
}

void FairQueue::forget(ConnectionId client) {
  for (Class& in : classes_) {
    const auto lane = in.lanes.find(client);
    if (lane == in.lanes.end()) continue;
    const auto jobs = lane->second.jobs;
    for (const auto& [arrival, job] : jobs) remove(job);
    in.lanes.erase(client);
  }
}

std::size_t FairQueue::lanes() const {
  std::size_t n = 0;
  for (const Class& in : classes_) n += in.lanes.size();
  return n;
}

void FairQueue::enter(Place& place, TimePoint now) {
  Class& in = class_of(place);
  place.since = now;
  place.age = in.by_age.insert(in.by_age.end(), place.waiting.job);
  join_lane(in, place);
}

void FairQueue::leave(Place& place) {
  Class& in = class_of(place);
  in.by_age.erase(place.age);
  leave_lane(in, place);
}

void FairQueue::join_lane(Class& in, const Place& place) {
  const ConnectionId client = place.waiting.client;
  const auto [found, is_new] = in.lanes.try_emplace(client);
  Lane& lane = found->second;
  if (is_new) {
    lane.credit = rules_.quantum_tokens;
    lane.credited = in.round;
  }
  if (lane.jobs.empty()) lane.turn = in.turns.insert(in.turns.end(), client);
  lane.jobs.emplace(place.arrival, place.waiting.job);
}

void FairQueue::leave_lane(Class& in, const Place& place) {
  Lane& lane = in.lanes.at(place.waiting.client);
  lane.jobs.erase(place.arrival);
  if (lane.jobs.empty()) in.turns.erase(lane.turn);
}

void FairQueue::let_age(TimePoint now) {
  // From the top, so that nobody moves up twice at once.
  for (std::size_t i = 1; i < kPriorities; ++i) {
    std::list<JobId>& by_age = classes_[i].by_age;
    while (!by_age.empty()) {
      Place& place = places_.at(by_age.front());
      if (now - place.since < rules_.aging) break;
      leave(place);
      place.waiting.priority = static_cast<Priority>(i - 1);
      enter(place, now);
    }
  }
}

// Gives the quanta of the rounds since the last time. Never more than one ahead: who could not run
// has kept its turn, but has not saved up for a burst.
void FairQueue::settle(const Class& in, Lane& lane) const {
  const std::uint64_t rounds = in.round - std::exchange(lane.credited, in.round);
  const std::int64_t missing = rules_.quantum_tokens - lane.credit;
  const auto needed =
      static_cast<std::uint64_t>((missing + rules_.quantum_tokens - 1) / rules_.quantum_tokens);
  lane.credit = rounds >= needed
                    ? rules_.quantum_tokens
                    : lane.credit + static_cast<std::int64_t>(rounds) * rules_.quantum_tokens;
}

std::uint64_t FairQueue::rounds_until_credit(std::int64_t credit) const {
  return static_cast<std::uint64_t>(-credit / rules_.quantum_tokens + 1);
}

// Its client pays, and ends its turn when nothing is left.
void FairQueue::charge(JobId job) {
  const Place& place = places_.at(job);
  Class& in = class_of(place);
  Lane& lane = in.lanes.at(place.waiting.client);
  lane.credit -= place.waiting.cost_tokens;
  if (lane.credit <= 0) in.turns.splice(in.turns.end(), in.turns, lane.turn);
}

std::vector<JobId> FairQueue::order() const {
  std::vector<JobId> jobs;
  jobs.reserve(size());
  for (const Class& in : classes_) {
    using Rest = std::pair<std::map<std::uint64_t, JobId>::const_iterator, const Lane*>;
    std::vector<Rest> rests;
    for (const ConnectionId client : in.turns) {
      const Lane& lane = in.lanes.at(client);
      rests.emplace_back(lane.jobs.begin(), &lane);
    }
    while (!rests.empty()) {
      for (auto& [next, lane] : rests) jobs.push_back((next++)->second);
      std::erase_if(rests, [](const Rest& rest) { return rest.first == rest.second->jobs.end(); });
    }
  }
  return jobs;
}

}  // namespace hearth::broker
