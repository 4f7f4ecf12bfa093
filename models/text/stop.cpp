#include "models/text/stop.h"

#include <algorithm>
#include <utility>

namespace hearth::text {

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase(stops_, std::string());
}

std::string StopStrings::feed(std::string_view text) {
  if (stopped_) return {};
  pending_ += text;
  std::size_t end = std::string::npos;  // where the first complete stop string ends
  std::size_t begin = std::string::npos;
  for (const std::string& stop : stops_) {
    const std::size_t found = pending_.find(stop);
    if (found == std::string::npos) continue;
    const std::size_t stop_end = found + stop.size();
    if (end == std::string::npos || stop_end < end || (stop_end == end && found < begin)) {
      end = stop_end;
      begin = found;
    }
  }
  stopped_ = end != std::string::npos;
  const std::size_t shown = stopped_ ? begin : pending_.size() - undecided_bytes();
  std::string result = pending_.substr(0, shown);
  pending_.erase(0, stopped_ ? pending_.size() : shown);
  return result;
}

std::string StopStrings::finish() {
  return std::exchange(pending_, {});
}

// The longest tail of the pending text that begins a stop string.
std::size_t StopStrings::undecided_bytes() const {
  std::size_t longest = 0;
  for (const std::string& stop : stops_) {
    std::size_t bytes = std::min(stop.size() - 1, pending_.size());
    for (; bytes > longest; --bytes)
      if (pending_.compare(pending_.size() - bytes, bytes, stop, 0, bytes) == 0) break;
    longest = std::max(longest, bytes);
  }
  return longest;
}

}  // namespace hearth::text
