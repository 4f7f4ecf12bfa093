// Jobs that wait for a slot, shared out among clients by work.
//
// Three classes: a job of a later class waits while one of an earlier class can run. A job that has
// waited long in its class moves up one, so that nothing starves. Within a class: deficit round
// robin. A client may be served while it has credit; a job's cost is taken off, below zero if need
// be; when nobody who could run has credit, a new round gives every client one quantum. So clients
// share by work, not by count: over any time in which two of them wait, what they were given
// differs by at most a quantum and their dearest job. A client's jobs run in the order in which
// they came, except that those that cannot run yet are passed over, which costs it neither its turn
// nor its credit.
#pragma once

#include <array>
#include <list>
#include <map>
#include <unordered_map>
#include <vector>

#include "daemon/broker/ports.h"

namespace hearth::broker {

enum class Priority : std::uint8_t { kInteractive, kBatch, kMaintenance };
inline constexpr std::size_t kPriorities = 3;

class FairQueue {
 public:
  // Costs and quantum in tokens of estimated work.
  struct Rules {
    std::int64_t quantum_tokens = 1024;
    Milliseconds aging{2'000};
  };
  struct Waiting {
    JobId job = 0;
    ConnectionId client = 0;
    Priority priority = Priority::kInteractive;
    std::int64_t cost_tokens = 1;  // at least 1
  };

  explicit FairQueue(Rules rules) : rules_(rules) {}

  void push(const Waiting& waiting, TimePoint now);
  // A job that was taken waits again, before all others of its client, and its cost is given back.
  void put_back(const Waiting& waiting, TimePoint now);
  // Removes the job wherever it stands; false when it does not wait here.
  bool remove(JobId job);
  // The job waits in another client's name from now on, with its place by age.
  void hand_over(JobId job, ConnectionId client);
  // The client is gone, and what it waits for with it.
  void forget(ConnectionId client);
  std::size_t size() const { return places_.size(); }
  // Accounts that are kept, of every client in every class. O(1).
  std::size_t lanes() const;

  // Takes the next job for which `may_run(job)` holds. 0 when there is none.
  template <class MayRun>
  JobId take(TimePoint now, MayRun may_run);

  // All that wait, in the order in which they would run if all could, at equal cost and with nobody
  // new. O(size).
  std::vector<JobId> order() const;

 private:
  friend struct handover::Access;
  // What one client waits for in one class. Lives until the client is gone, for its debt outlives
  // its jobs.
  struct Lane {
    std::map<std::uint64_t, JobId> jobs;  // by arrival
    std::int64_t credit = 0;              // at the beginning of round `credited`
    std::uint64_t credited = 0;
    std::list<ConnectionId>::iterator turn;  // while there are jobs
  };
  struct Class {
    std::unordered_map<ConnectionId, Lane> lanes;
    std::list<ConnectionId> turns;  // exactly the clients with jobs here
    std::list<JobId> by_age;        // here for longest first
    std::uint64_t round = 0;
  };
  struct Place {
    Waiting waiting;  // `priority`: where it is by now
    std::uint64_t arrival = 0;
    TimePoint since;  // in this class
    std::list<JobId>::iterator age;
  };
  // Who could be served in a class.
  struct Choice {
    JobId job = 0;
    std::int64_t best_credit = 0;  // of those who could run, when `job` is 0
    bool anybody = false;
  };

  Class& class_of(const Place& place) {
    return classes_[static_cast<std::size_t>(place.waiting.priority)];
  }
  Place& place_of(const Waiting& waiting, std::uint64_t arrival);
  void enter(Place& place, TimePoint now);
  void leave(Place& place);
  void join_lane(Class& in, const Place& place);
  void leave_lane(Class& in, const Place& place);
  void let_age(TimePoint now);
  void settle(const Class& in, Lane& lane) const;
  void charge(JobId job);
  std::uint64_t rounds_until_credit(std::int64_t credit) const;

  template <class MayRun>
  Choice choose(Class& in, MayRun& may_run);

  const Rules rules_;
  std::array<Class, kPriorities> classes_;
  std::unordered_map<JobId, Place> places_;
  static constexpr std::uint64_t kMiddle = std::uint64_t{1} << 63;
  std::uint64_t last_arrival_ = kMiddle;
  std::uint64_t first_arrival_ = kMiddle;  // of those that were put back
};

template <class MayRun>
FairQueue::Choice FairQueue::choose(Class& in, MayRun& may_run) {
  Choice choice;
  for (const ConnectionId client : in.turns) {
    Lane& lane = in.lanes.at(client);
    for (const auto& [arrival, job] : lane.jobs) {
      if (!may_run(job)) continue;
      settle(in, lane);
      if (lane.credit > 0) return Choice{job, lane.credit, true};
      if (!choice.anybody || lane.credit > choice.best_credit) choice.best_credit = lane.credit;
      choice.anybody = true;
      break;
    }
  }
  return choice;
}

template <class MayRun>
JobId FairQueue::take(TimePoint now, MayRun may_run) {
  let_age(now);
  for (Class& in : classes_) {
    Choice choice = choose(in, may_run);
    if (!choice.anybody) continue;
    if (choice.job == 0) {
      in.round += rounds_until_credit(choice.best_credit);
      choice = choose(in, may_run);
    }
    charge(choice.job);
    remove(choice.job);
    return choice.job;
  }
  return 0;
}

}  // namespace hearth::broker
