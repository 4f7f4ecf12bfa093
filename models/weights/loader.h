// Reads what a plan places into an arena, with all threads that the load may use.
//
// The work is cut into pieces of a few MiB in the order of the arena. Each thread takes the next
// piece, asks the system to fetch the pieces after it, reads, converts or rounds, and takes
// another: disk, page cache and arithmetic are busy at the same time. Bytes that need no conversion
// go from the page cache to their final place without another copy, interleaved rows included.
#pragma once

#include "models/files/weight_index.h"
#include "models/model.h"
#include "models/weights/arena.h"
#include "models/weights/plan.h"
#include "shm/base/result.h"

namespace hearth::weights {

// Load thread, which takes its share of the work and alone calls options.on_progress. Returns when
// all threads are done. Errors: bad_model naming file and tensor when a file ends too early,
// unsupported from a kernel, out_of_memory, cancelled; what the arena then holds is undefined.
// Throws what a device's memory throws, on the calling thread.
Result<void> read_placements(const files::WeightIndex& index, const Plan& plan,
                             const models::LoadOptions& options, Arena& arena);

}  // namespace hearth::weights
