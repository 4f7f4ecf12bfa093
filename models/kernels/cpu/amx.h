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
#define HEARTH_AMX_FEATURES                                                                       \
  "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512bf16,amx-tile,amx-bf16,amx-int8,avx2,fma," \
  "f16c,bmi2"
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

// Whether the processor, which has AVX512-BF16, multiplies tiles of bf16 and of bytes, this process
// may use them and known products come out right. CPUID's leaf 1DH, which describes tiles, is not
// read: hypervisors hide it on machines where tiles work. Asks every time: machine_level() keeps
// the answer.
bool tiles_work();

// Whether the level that is set (level.h) is that of AMX.
bool has_amx();

// Rows and columns, of 4 bytes, of each of the eight tiles; the operand of ldtilecfg. Source:
// Intel, Software Developer's Manual, volume 1, 18.2.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};

  // Tiles [first, last) with 1 to 16 rows and columns.
  constexpr TileShapes& shape(int first, int last, std::int64_t tile_rows, std::int64_t columns) {
    for (int tile = first; tile < last; ++tile) {
      rows[tile] = static_cast<std::uint8_t>(tile_rows);
      row_bytes[tile] = static_cast<std::uint16_t>(4 * columns);
    }
    return *this;
  }
};
static_assert(sizeof(TileShapes) == 64);

// Shapes the calling thread's tiles for the scope's life, all of them fully where nothing else is
// said, and gives their state up at its end, so that a switch of threads does not save it.
class TileScope {
 public:
  HEARTH_AMX TileScope();
  HEARTH_AMX explicit TileScope(const TileShapes& shapes);
  HEARTH_AMX ~TileScope();
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
};

// Before tiles are loaded from memory that the same function has written: GCC does not know that
// the instruction reads it, and would write later.
HEARTH_AMX_INLINE void finish_stores() {
  __asm__ volatile("" ::: "memory");
}

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
