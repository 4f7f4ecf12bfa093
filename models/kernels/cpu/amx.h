// AMX: products of small matrices ("tiles": 16 rows of 64 bytes) in one instruction.
//
// Tile registers belong to a thread and start without a shape: TileScope gives all eight the full
// one. Functions that use tiles or AVX-512 carry HEARTH_AMX, so that one binary serves every
// machine, and are called only where has_amx() says so. Any thread.
#pragma once

#include <cstdint>

#include <immintrin.h>

#include "models/kernels/bfloat16.h"

// Every processor with AMX has these parts of AVX-512.
#define HEARTH_AMX_FEATURES \
  "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512bf16,amx-tile,amx-bf16,avx2,fma,f16c,bmi2"
#define HEARTH_AMX __attribute__((target(HEARTH_AMX_FEATURES)))
#define HEARTH_AMX_INLINE inline __attribute__((always_inline, target(HEARTH_AMX_FEATURES)))

namespace hearth::kernels::cpu {

inline constexpr int kTileRows = 16;   // also the columns of a sum
inline constexpr int kTileDepth = 32;  // bf16 in a tile's row: inputs that one product takes
inline constexpr int kTileBytes = 1024;
inline constexpr int kTileStride = 64;        // bytes from one row of a packed tile to the next
inline constexpr int kBlock = 2 * kTileRows;  // rows and columns of a block: two by two tiles
inline constexpr int kStepBytes = 2 * kTileBytes;  // what a block reads on each side for a product
inline constexpr int kBlockFloats = kBlock * kBlock;

// Whether this process may use AMX and a known product comes out right, which is asked once, and no
// lower level is set (level.h). CPUID's leaf 1DH, which describes tiles, is not read: hypervisors
// hide it on machines where tiles work.
bool has_amx();

// Shapes the calling thread's tiles for the scope's life, and gives their state up at its end, so
// that a switch of threads does not save it.
class TileScope {
 public:
  HEARTH_AMX TileScope();
  HEARTH_AMX ~TileScope();
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
};

// Cache lines that a later product reads, fetched while this one computes: `rows` runs of `lines`
// lines, `stride` bytes apart.
struct Prefetch {
  const char* base = nullptr;
  std::int64_t stride = 0;
  std::int32_t rows = 0, lines = 0;
  std::int32_t row = 0, line = 0;  // the next one
};

HEARTH_AMX_INLINE void fetch(Prefetch& ahead, int count) {
  for (; count > 0 && ahead.row < ahead.rows; --count) {
    _mm_prefetch(ahead.base + ahead.row * ahead.stride + ahead.line * 64, _MM_HINT_T1);
    if (++ahead.line == ahead.lines) ahead.line = 0, ++ahead.row;
  }
}

}  // namespace hearth::kernels::cpu
