// The whole of the broker's core, out of one process and into the next.
#pragma once

#include "daemon/broker/core.h"
#include "daemon/broker/handover/archive.h"

namespace hearth::broker::handover {

// Of the result cache, which an administrator may make as large as he likes, so much goes along:
// the rest is dropped, the least useful first.
inline constexpr std::uint64_t kMostResultBytes = std::uint64_t{64} << 20;

// Nothing may be under way off the loop.
void save_core(Saver& saver, Core& core);
// Into a core that nothing has happened to. Its clients have no port yet. Errors: as
// Loader::result(), also where one part of the state names another that is not there.
Result<void> load_core(Loader& loader, Core& core);

}  // namespace hearth::broker::handover
