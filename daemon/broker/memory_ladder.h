// What is done when the engine lacks memory for a load or a request, one rung after the other.
//
// 1. The engine gives back what it keeps for later. It has done so by itself before it says that
//    it lacks memory.
// 2. The one idle model whose leaving is the least loss leaves; never more of them, never a pinned
//    one.
// 3. The operation is tried once more, when that model has left.
// 4. It fails with a table of who holds what.
//
// Told by the code out_of_memory; of a request, the engine says besides whether room would help
// (its `retryable`): one that is too large by itself moves nobody. Each rung is logged and counted
// (hearth_memory_ladder_total).
#pragma once

#include <cstdint>

#include "daemon/broker/message.h"
#include "shm/base/result.h"

namespace hearth::broker {

struct Core;
struct Model;

struct LadderCounts {
  std::uint64_t lacks = 0;      // of memory, that the engine told of
  std::uint64_t evictions = 0;  // of an idle model
  std::uint64_t retries = 0;
  std::uint64_t failures = 0;  // for good
};

// A load of `model`, or a request with it, lacked memory. `retried`: it had been tried again
// already. Whether it is to be tried once more, when nobody is leaving the device any more; who
// does so counts it.
bool climb(Core& core, const Model& model, bool retried);
// A model is on its way out.
bool is_any_leaving(Core& core);
// `error`, and who holds what, largest first.
Error with_holders(Core& core, const Model& model, const Error& error);

// Whether a request ended because the device lacked memory that others could give back.
bool lacks_room(const InFrame& terminal);

}  // namespace hearth::broker
