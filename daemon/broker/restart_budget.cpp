#include "daemon/broker/restart_budget.h"

#include <algorithm>

namespace hearth::broker {

void RestartBudget::died(Suspect suspect, TimePoint now) {
  while (!ends_.empty() && (now - ends_.front().at > kWindow || ends_.size() >= kMostEnds))
    ends_.pop_front();
  ends_.push_back({now, std::move(suspect)});
}

bool RestartBudget::is_spent(std::uint32_t allowed, const Quarantine& quarantine,
                             TimePoint now) const {
  if (allowed == 0) return false;
  const auto counts = [&](const End& end) {
    if (now - end.at > kWindow) return false;
    return !end.suspect || !quarantine.refused(end.suspect->first, now);
  };
  return std::count_if(ends_.begin(), ends_.end(), counts) > static_cast<std::ptrdiff_t>(allowed);
}

}  // namespace hearth::broker
