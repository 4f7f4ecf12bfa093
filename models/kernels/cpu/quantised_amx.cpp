// int8 and int4 by AMX: a tile of inputs (rows by 64 signed bytes) with a tile of weights as it
// lies in memory gives all rows' sums of a group at once.
//
// The sums are exact integers and meet the scales in the same order as in quantised_vnni.cpp, so a
// row has the same bits whichever of the two computes it. Products and stores of tiles take long,
// so groups go through in fours, in three stages that the processor runs side by side: nibbles of
// the next block become bytes, this block's products are taken, the block before meets its scales.

#if defined(__x86_64__)

#include <immintrin.h>

#include "models/kernels/cpu/amx.h"
#include "models/kernels/cpu/quantised.h"

namespace hearth::kernels::cpu {
namespace {

constexpr std::int64_t kAheadBytes = 8192;
constexpr int kGroups = 4;  // of a block

struct Int8 {
  static constexpr HearthFormat kFormat = HEARTH_FORMAT_INT8;
  static constexpr int kLines = 16;  // of 64 bytes, in a group
};
struct Int4 {
  static constexpr HearthFormat kFormat = HEARTH_FORMAT_INT4;
  static constexpr int kLines = 8;
};

// Up to kGroups groups of one tile of features.
struct Block {
  std::int64_t tile, group;
  int groups;
};

struct BlockScratch {
  alignas(64) std::uint8_t bytes[kGroups][kTileBytes];        // of int4
  alignas(64) std::int32_t dots[kGroups][kTileRows * kTile];  // [rows][kTile]
};

Block block_at(const LinearJob& job, std::int64_t tile, std::int64_t group) {
  if (group == job.groups) ++tile, group = 0;
  return {tile, group, static_cast<int>(std::min<std::int64_t>(kGroups, job.groups - group))};
}

template <class Format>
HEARTH_AMX_INLINE const std::uint8_t* weights_of(const LinearJob& job, const Block& block) {
  return static_cast<const std::uint8_t*>(job.call->weight.data) +
         (block.tile * job.groups + block.group) * tile_bytes(Format::kFormat, 1);
}

template <class Format>
HEARTH_AMX_INLINE void read_ahead(const LinearJob& job, const Block& block) {
  const auto* weights = reinterpret_cast<const char*>(weights_of<Format>(job, block));
  for (int line = 0; line < block.groups * Format::kLines; ++line)
    _mm_prefetch(weights + kAheadBytes + line * 64, _MM_HINT_T1);
}

HEARTH_AMX_INLINE void spread_nibbles(const LinearJob& job, const Block& block, int group,
                                      BlockScratch& scratch) {
  const std::uint8_t* weights = weights_of<Int4>(job, block) + group * tile_bytes(Int4::kFormat, 1);
  const __m512i nibble = _mm512_set1_epi8(15);
  std::uint8_t* bytes = scratch.bytes[group];
  for (int v = 0; v < Int4::kLines; ++v) {
    const __m512i both = _mm512_load_si512(weights + v * 64);
    _mm512_store_si512(bytes + v * 64, _mm512_and_si512(both, nibble));
    _mm512_store_si512(bytes + (v + Int4::kLines) * 64,
                       _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble));
  }
}

// sum = left times right; a macro because an instruction names its tiles.
#define HEARTH_MULTIPLY(sum, left, right)   \
  _tile_zero(sum);                          \
  _tile_loadd(left, inputs, kTileStride);   \
  _tile_loadd(right, weights, kTileStride); \
  _tile_dpbsud(sum, left, right)

// A group's products in the tile of its number.
template <int kNumber>
HEARTH_AMX_INLINE void multiply_group(const std::int32_t* inputs, const std::uint8_t* weights) {
  if constexpr (kNumber == 0) {
    HEARTH_MULTIPLY(0, 4, 6);
  } else if constexpr (kNumber == 1) {
    HEARTH_MULTIPLY(1, 5, 7);
  } else if constexpr (kNumber == 2) {
    HEARTH_MULTIPLY(2, 4, 6);
  } else {
    HEARTH_MULTIPLY(3, 5, 7);
  }
}

#undef HEARTH_MULTIPLY

template <int kNumber>
HEARTH_AMX_INLINE void store_group(BlockScratch& scratch) {
  std::int32_t* dots = scratch.dots[kNumber];
  if constexpr (kNumber == 0) {
    _tile_stored(0, dots, kTileStride);
  } else if constexpr (kNumber == 1) {
    _tile_stored(1, dots, kTileStride);
  } else if constexpr (kNumber == 2) {
    _tile_stored(2, dots, kTileStride);
  } else {
    _tile_stored(3, dots, kTileStride);
  }
}

// A group's products, and the store of those of the group before, which waits for them no longer.
template <class Format, int kNumber>
HEARTH_AMX_INLINE void multiply(const LinearJob& job, const Block& block, BlockScratch& scratch) {
  const std::int32_t* inputs = job.quads + (block.group + kNumber) * (kGroup / 4) * job.rows;
  const std::uint8_t* weights = Format::kFormat == HEARTH_FORMAT_INT8
                                    ? weights_of<Format>(job, block) + kNumber * kTileBytes
                                    : scratch.bytes[kNumber];
  finish_stores();
  multiply_group<kNumber>(inputs, weights);
  if constexpr (kNumber > 0) store_group<kNumber - 1>(scratch);
  if (kNumber + 1 == block.groups) store_group<kNumber>(scratch);
}

// One row's sums with those of the block's groups. scales: of the weights.
template <class Format>
HEARTH_AMX_INLINE __m512 add_groups(const LinearJob& job, const Block& block, int groups,
                                    std::int64_t row, const BlockScratch& scratch,
                                    const __m512* scales, __m512 sum) {
  for (int g = 0; g < groups; ++g) {
    const std::int64_t at = (block.group + g) * job.rows + row;
    const __m512i all = _mm512_add_epi32(_mm512_load_si512(scratch.dots[g] + row * kTile),
                                         _mm512_set1_epi32(job.offset_sums[at]));
    __m512 scale = _mm512_set1_ps(job.input_scales[at]);
    if (Format::kFormat == HEARTH_FORMAT_INT4) scale = _mm512_mul_ps(scale, scales[g]);
    sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(all), scale, sum);
  }
  return sum;
}

// The scales of a block's weights.
template <class Format>
HEARTH_AMX_INLINE void load_scales(const LinearJob& job, const Block& block, __m512* scales) {
  if (Format::kFormat == HEARTH_FORMAT_INT8) return;
  const auto* at = static_cast<const std::uint16_t*>(job.call->weight.scales) +
                   (block.tile * job.groups + block.group) * kTile;
  for (int g = 0; g < block.groups; ++g)
    scales[g] =
        _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(at + g * kTile)));
}

// sums [rows][kTile] += the block's, of one quarter of the rows.
template <class Format>
HEARTH_AMX_INLINE void add_block(const LinearJob& job, const Block& block, int quarter,
                                 const BlockScratch& scratch, const __m512* scales, __m512* sums) {
  const std::int64_t end = job.rows * (quarter + 1) / kGroups;
  for (std::int64_t r = job.rows * quarter / kGroups; r < end; ++r)
    sums[r] = block.groups == kGroups
                  ? add_groups<Format>(job, block, kGroups, r, scratch, scales, sums[r])
                  : add_groups<Format>(job, block, block.groups, r, scratch, scales, sums[r]);
}

template <class Format>
HEARTH_AMX_INLINE void finish_tile(const LinearJob& job, std::int64_t tile, __m512* sums) {
  __m512 scale = _mm512_set1_ps(1.0F);
  if (Format::kFormat == HEARTH_FORMAT_INT8)
    scale = _mm512_load_ps(static_cast<const float*>(job.call->weight.scales) + tile * kTile);
  for (std::int64_t r = 0; r < job.rows; ++r) {
    alignas(64) float y[kTile];
    _mm512_store_ps(y, _mm512_mul_ps(sums[r], scale));
    finish(*job.call, r, tile, y);
    sums[r] = _mm512_setzero_ps();
  }
}

// What a thread holds of three blocks that follow one another.
struct Stages {
  Block before, block, next;
  BlockScratch scratch[2];  // of `block`, and of both others
  __m512 scales[kGroups];   // of `before`
  int now = 0;              // index of the block's scratch
};

// A quarter of each stage. What is written one behind the other here waits for nothing of this
// turn.
template <class Format, int kQuarter>
HEARTH_AMX_INLINE void take_turn(const LinearJob& job, Stages& s, __m512* sums) {
  BlockScratch& other = s.scratch[1 - s.now];
  if (kQuarter < s.block.groups) multiply<Format, kQuarter>(job, s.block, s.scratch[s.now]);
  if (Format::kFormat == HEARTH_FORMAT_INT4 && kQuarter < s.next.groups)
    spread_nibbles(job, s.next, kQuarter, other);
  if (s.before.groups > 0) add_block<Format>(job, s.before, kQuarter, other, s.scales, sums);
}

template <class Format>
HEARTH_AMX_INLINE void take_turns(const LinearJob& job, Stages& s, __m512* sums) {
  load_scales<Format>(job, s.before, s.scales);
  if (s.block.groups > 0) read_ahead<Format>(job, s.block);
  take_turn<Format, 0>(job, s, sums);
  take_turn<Format, 1>(job, s, sums);
  take_turn<Format, 2>(job, s, sums);
  take_turn<Format, 3>(job, s, sums);
}

template <class Format>
HEARTH_AMX void compute_tiles(const LinearJob& job, std::int64_t first, std::int64_t last) {
  const TileScope scope(TileShapes().shape(0, 6, job.rows, kTile).shape(6, 8, kTileRows, kTile));
  __m512 sums[kTileRows];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  Stages s;
  s.before = s.block = {first, 0, 0};
  s.next = block_at(job, first, 0);
  while (s.before.tile < last) {
    take_turns<Format>(job, s, sums);
    if (s.before.groups > 0 && s.block.tile != s.before.tile)
      finish_tile<Format>(job, s.before.tile, sums);
    s.before = s.block;
    s.block = s.next;
    s.next =
        s.block.tile < last ? block_at(job, s.block.tile, s.block.group + s.block.groups) : s.block;
    if (s.next.tile >= last) s.next.groups = 0;
    s.now = 1 - s.now;
  }
}

}  // namespace

void int8_tiles_amx(const LinearJob& job, std::int64_t first, std::int64_t last) {
  compute_tiles<Int8>(job, first, last);
}

void int4_tiles_amx(const LinearJob& job, std::int64_t first, std::int64_t last) {
  compute_tiles<Int4>(job, first, last);
}

}  // namespace hearth::kernels::cpu

#endif
