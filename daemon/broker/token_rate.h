// How many tokens are generated, of all requests together: the sum, and the rate of late.
//
// Values only; one thread.
#pragma once

#include <cstdint>
#include <deque>

#include "daemon/broker/ports.h"

namespace hearth::broker {

class TokenRate {
 public:
  static constexpr Milliseconds kWindow{10'000};

  void add(std::uint64_t tokens, TimePoint now);
  std::uint64_t total() const { return total_; }
  // Over the window before `now`; to a hundredth of it.
  double per_second(TimePoint now) const;

 private:
  friend struct handover::Access;
  static constexpr Milliseconds kStep = kWindow / 100;
  struct Step {
    std::int64_t number = 0;  // of steps since the clock's epoch
    std::uint64_t tokens = 0;
  };
  static std::int64_t number_of(TimePoint time) { return time.time_since_epoch() / kStep; }

  std::deque<Step> steps_;  // those within the window when the last came
  std::uint64_t total_ = 0;
};

}  // namespace hearth::broker
