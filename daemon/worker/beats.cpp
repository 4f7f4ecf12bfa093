#include "daemon/worker/beats.h"

#include <algorithm>
#include <utility>

namespace hearth::worker {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

contract::Beat beat_of(const models::Progress::Seen& seen, milliseconds since) {
  contract::Beat beat;
  beat.phase = std::string(models::word_of(seen.phase));
  beat.model = seen.model;
  beat.steps = seen.steps;
  beat.since_ms = static_cast<std::uint64_t>(since.count());
  return beat;
}

// Whoever hears them knows no threads: two at the same phase of the same model are one beat, which
// moves as long as one of them does. Each by itself, they would look like one that goes to and fro.
void add(std::vector<contract::Beat>& beats, contract::Beat beat) {
  const auto same = std::find_if(beats.begin(), beats.end(), [&](const contract::Beat& other) {
    return other.phase == beat.phase && other.model == beat.model;
  });
  if (same == beats.end()) return beats.push_back(std::move(beat));
  same->steps += beat.steps;
  same->since_ms = std::min(same->since_ms, beat.since_ms);
}

}  // namespace

Beats::Beats(std::vector<const models::Progress*> threads) {
  for (const models::Progress* progress : threads) threads_.emplace_back(progress);
}

// Whether a thread has another phase than the broker was told.
bool Beats::look(Clock::time_point now) {
  bool changed = false;
  busy_ = false;
  for (Watched& each : threads_) {
    const models::Progress::Seen seen = each.progress->seen();
    if (seen.steps != std::exchange(each.steps, seen.steps)) each.rose = now;
    changed = changed || seen.phase != each.told;
    busy_ = busy_ || seen.phase != models::Phase::kIdle;
  }
  return changed;
}

std::vector<contract::Beat> Beats::due(Clock::time_point now,
                                       const std::function<contract::DeviceState()>& device) {
  const bool changed = look(now);
  std::vector<contract::Beat> beats;
  if (now - sent_ < (changed ? kLook : kInterval)) return beats;
  sent_ = now;
  std::uint64_t steps = 0;
  for (Watched& each : threads_) {
    const models::Progress::Seen seen = each.progress->seen();
    each.told = seen.phase;
    steps += seen.steps;
    if (seen.phase == models::Phase::kIdle) continue;
    add(beats, beat_of(seen, duration_cast<milliseconds>(now - each.rose)));
  }
  if (beats.empty()) return {beat_of({models::Phase::kIdle, {}, steps}, milliseconds(0))};
  const contract::DeviceState state = device();
  for (contract::Beat& beat : beats) beat.device_state = state;
  return beats;
}

milliseconds Beats::next(Clock::time_point now) const {
  const auto left = std::chrono::ceil<milliseconds>(sent_ + kInterval - now);
  return std::clamp(left, milliseconds(0), busy_ ? kLook : kInterval);
}

}  // namespace hearth::worker
