// Whether the engine process still moves, by its beats (the message `beat`).
//
// Each phase has a limit for how long it may go without a step, and there is one for silence. Time
// counts only as it is seen to pass here, at most kMostGap between two beats or two ticks: a broker
// that was stopped, or a machine that slept, learns nothing about the engine from the gap, and an
// engine that was asleep beside it is not blamed for it. So a hang is noticed after its limit of
// beats, not of clock.
//
// Values only; one thread. Nothing of it need survive an upgrade: the new process begins to count.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "daemon/broker/config.h"
#include "daemon/broker/ports.h"
#include "daemon/broker/quarantine.h"

namespace hearth::broker {

// Why the engine process is to be ended.
struct Verdict {
  std::string what;  // "no progress in decode for 30 s"
  // What it hung in; absent: it fell silent, and any of its work may be the cause.
  std::optional<std::pair<std::string, Op>> suspect;
};

class Liveness {
 public:
  static constexpr Milliseconds kBeat{1000};
  static constexpr Milliseconds kMostGap{2000};
  static constexpr Milliseconds kOverdue{5000};
  static constexpr Milliseconds kFarewell{1000};  // from the word that it ends to its end

  // A new process says that it is ready. `on_cpu`: honest work takes longer there.
  void begin(bool on_cpu, TimePoint now);
  bool is_watching() const { return watching_; }
  // It is gone, or has been told to go.
  void end() { watching_ = false; }
  // It says that it ends itself, which takes it a moment.
  void expect_end(TimePoint now);

  std::optional<Verdict> beat(const contract::Beat& beat, const SilenceLimits& limits,
                              TimePoint now);
  std::optional<Verdict> tick(const SilenceLimits& limits, TimePoint now);
  // When to tick next; max: not at all.
  TimePoint next_tick() const { return watching_ ? seen_ + kBeat : TimePoint::max(); }
  // Whether ticks come as they should: who is asked for them does its work.
  bool is_overdue(TimePoint now) const { return watching_ && now > next_tick() + kOverdue; }

 private:
  struct Work {
    std::uint64_t steps = 0;
    Milliseconds still{0};  // since they rose, as far as it was seen to pass
    TimePoint last;         // beat
  };

  std::optional<Verdict> outlives_farewell(TimePoint now);

  bool watching_ = false;
  bool on_cpu_ = false;
  Milliseconds silent_{0};
  TimePoint seen_;                                             // the last tick or beat
  std::optional<Milliseconds> dying_;                          // since it said so
  std::map<std::pair<std::string, std::string>, Work> works_;  // by phase and model
};

}  // namespace hearth::broker
