// The whole of the broker's core, out of one process and into the next.
#pragma once

#include "daemon/broker/core.h"
#include "daemon/broker/handover/archive.h"

namespace hearth::broker::handover {

// Nothing may be under way off the loop.
void save_core(Saver& saver, const Core& core);
// Into a core that nothing has happened to. Its clients have no port yet. Errors: as
// Loader::result(), also where one part of the state names another that is not there.
Result<void> load_core(Loader& loader, Core& core);

}  // namespace hearth::broker::handover
