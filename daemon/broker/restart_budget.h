// How often the engine process may end before nobody starts it again by himself.
//
// Ends within a window count, but for those that are a quarantined model's fault: that one is
// refused, and the others shall go on. When more count than allowed, the engine rests for a pause;
// whoever looks after the service can end it.
//
// Values only; one thread. Kept over an upgrade: the ends.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "daemon/broker/ports.h"
#include "daemon/broker/quarantine.h"

namespace hearth::broker {

class RestartBudget {
 public:
  using Suspect = std::optional<std::pair<std::string, Op>>;

  static constexpr std::chrono::minutes kWindow{10};
  static constexpr std::chrono::minutes kPause{10};

  // `suspect`: whose fault it alone can be.
  void died(Suspect suspect, TimePoint now);
  // Whether more than `allowed` ends count; 0 allows any number.
  bool is_spent(std::uint32_t allowed, const Quarantine& quarantine, TimePoint now) const;
  // The past is forgiven.
  void clear() { ends_.clear(); }

 private:
  friend struct handover::Access;
  static constexpr std::size_t kMostEnds = 256;  // over the largest budget (daemon/config/table.h)

  struct End {
    TimePoint at;
    Suspect suspect;
  };
  std::deque<End> ends_;  // in order of time
};

}  // namespace hearth::broker
