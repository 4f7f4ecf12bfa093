// Tells the broker what the worker's threads are doing, once a second and when a phase changes.
//
// A busy thread has a beat of its own: a load that is stuck must show beside an engine that
// answers. But threads at the same phase of the same model share one, and who only waits for
// another thread is idle. When all are idle there is one beat that says so. Whoever reads the link
// sends them, so a worker that does not listen any more falls silent, too.
//
// Link thread only; the records may be written meanwhile.
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "models/model.h"

namespace hearth::worker {

class Beats {
 public:
  using Clock = models::Clock;

  static constexpr std::chrono::milliseconds kInterval{1000};
  static constexpr std::chrono::milliseconds kLook{100};  // while busy, for changes of phase

  // `threads` outlive this object.
  explicit Beats(std::vector<const models::Progress*> threads);

  // What is to be sent now, mostly nothing. `device`: what it is doing, asked only where something
  // is to be sent while threads are busy.
  std::vector<contract::Beat> due(Clock::time_point now,
                                  const std::function<contract::DeviceState()>& device);
  // When to ask again at the latest.
  std::chrono::milliseconds next(Clock::time_point now) const;

 private:
  struct Watched {
    explicit Watched(const models::Progress* of) : progress(of) {}
    const models::Progress* progress;
    models::Phase told = models::Phase::kIdle;  // its phase in the last beat
    std::uint64_t steps = 0;                    // when they were last looked at
    Clock::time_point rose;                     // when they had risen
  };

  bool look(Clock::time_point now);

  std::vector<Watched> threads_;
  bool busy_ = false;
  Clock::time_point sent_;  // epoch: never
};

}  // namespace hearth::worker
