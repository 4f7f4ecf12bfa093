// A plain read of memory, as fast as the processor's loads allow: what kernels that read memory
// once are compared with.
#pragma once

#include <cstdint>

#include "models/kernels/cpu/level.h"

namespace hearth::bench {

using Line = std::uint64_t __attribute__((vector_size(64)));

// Four cache lines at a time, as much as the level's loads allow.
HEARTH_INLINE std::uint64_t fold(const char* memory, std::int64_t bytes) {
  const Line* lines = reinterpret_cast<const Line*>(memory);
  Line sums[4] = {};
  for (std::int64_t i = 0; i < bytes / 64; i += 4)
    for (int k = 0; k < 4; ++k) sums[k] ^= lines[i + k];
  const Line all = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
  std::uint64_t folded = 0;
  for (int k = 0; k < 8; ++k) folded ^= all[k];
  return folded;
}
inline std::uint64_t fold_generic(const char* memory, std::int64_t bytes) {
  return fold(memory, bytes);
}
#if defined(__x86_64__)
HEARTH_AVX512 inline std::uint64_t fold_avx512(const char* memory, std::int64_t bytes) {
  return fold(memory, bytes);
}
#endif
inline auto fold_at_level() {
#if defined(__x86_64__)
  if (hearth::kernels::cpu::level() >= hearth::kernels::cpu::Level::avx512) return &fold_avx512;
#endif
  return &fold_generic;
}

}  // namespace hearth::bench
