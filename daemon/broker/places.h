// Tells who waits how many are ahead: `progress` of stage queued, when a job has begun to wait and
// when its place has changed, at most every kPlacesEvery.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

inline constexpr Milliseconds kPlacesEvery{250};

// The queue is not what it was: everybody's place is looked at soon, all in one go.
void places_changed(Core& core);
void places_tick(Core& core);

}  // namespace hearth::broker
