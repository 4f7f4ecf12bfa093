// Work that falls into numbered pieces, done by several threads at once.
#pragma once

#include <cstddef>
#include <functional>

#include "shm/base/result.h"

namespace hearth::weights {

// Does one piece. Each thread has its own, so it may keep buffers.
using TakePiece = std::function<Result<void>(std::size_t piece)>;

// Does pieces 0 … pieces - 1, begun in this order, with `threads` (1 or more) of which the caller's
// is one; where no more can be started, with fewer. `hire` is called once on each. `on_progress`
// may be empty; the caller's thread calls it after each piece of its own. The first error ends the
// work and is returned; what a piece throws is thrown to the caller.
Result<void> share_out(std::size_t pieces, std::size_t threads,
                       const std::function<TakePiece()>& hire,
                       const std::function<void()>& on_progress);

}  // namespace hearth::weights
