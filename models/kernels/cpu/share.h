// Work on many rows: by the team where there is enough of it, else on the calling thread, because a
// thread that must be woken costs more than it brings.
#pragma once

#include <algorithm>
#include <cstdint>

#include "models/kernels/cpu/team.h"

namespace hearth::kernels::cpu {

inline constexpr std::int64_t kAloneBytes = std::int64_t{128} * 1024;  // of memory touched
inline constexpr std::int64_t kChunkBytes = std::int64_t{32} * 1024;

// Calls compute(item) for all of [0, items), each of which touches about `item_bytes`.
template <class Compute>
void share(std::int64_t items, std::int64_t item_bytes, const Compute& compute) {
  const auto range = [&compute](Chunk chunk) {
    for (std::int64_t item = chunk.first; item < chunk.last; ++item) compute(item);
  };
  if (items <= 1 || items * item_bytes <= kAloneBytes) return range({0, items, 0});
  for_chunks(items, std::max<std::int64_t>(kChunkBytes / item_bytes, 1), range);
}

inline std::int64_t type_bytes(HearthType type) {
  return type == HEARTH_F32 ? 4 : 2;
}

}  // namespace hearth::kernels::cpu
