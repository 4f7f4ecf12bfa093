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

HEARTH_AMX_INLINE void spread_nibbles(const LinearJob& job, const Block& block,
                                      BlockScratch& scratch) {
  const std::uint8_t* weights = weights_of<Int4>(job, block);
  const __m512i nibble = _mm512_set1_epi8(15);
  for (int g = 0; g < block.groups; ++g) {
    std::uint8_t* bytes = scratch.bytes[g];
    for (int v = 0; v < Int4::kLines; ++v, weights += 64) {
      const __m512i both = _mm512_load_si512(weights);
      _mm512_store_si512(bytes + v * 64, _mm512_and_si512(both, nibble));
      _mm512_store_si512(bytes + (v + Int4::kLines) * 64,
                         _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble));
    }
  }
}

// A group's products; which tiles is written out because an instruction names its tiles.
#define HEARTH_MULTIPLY_GROUP(group, sum, left, right)                                        \
  _tile_zero(sum);                                                                            \
  _tile_loadd(left, inputs + (group)*input_bytes, kTileStride);                               \
  _tile_loadd(right, weights + static_cast<std::ptrdiff_t>(group) * kTileBytes, kTileStride); \
  _tile_dpbsud(sum, left, right)

template <class Format>
HEARTH_AMX_INLINE void multiply(const LinearJob& job, const Block& block, BlockScratch& scratch) {
  finish_stores();
  const std::int64_t input_bytes = job.rows * kGroup;
  const char* inputs = reinterpret_cast<const char*>(job.quads) + block.group * input_bytes;
  const std::uint8_t* weights =
      Format::kFormat == HEARTH_FORMAT_INT8 ? weights_of<Format>(job, block) : scratch.bytes[0];
  HEARTH_MULTIPLY_GROUP(0, 0, 4, 6);
  if (block.groups > 1) {
    HEARTH_MULTIPLY_GROUP(1, 1, 5, 7);
  }
  if (block.groups > 2) {
    HEARTH_MULTIPLY_GROUP(2, 2, 4, 6);
  }
  if (block.groups > 3) {
    HEARTH_MULTIPLY_GROUP(3, 3, 5, 7);
  }
  _tile_stored(0, scratch.dots[0], kTileStride);
  if (block.groups > 1) _tile_stored(1, scratch.dots[1], kTileStride);
  if (block.groups > 2) _tile_stored(2, scratch.dots[2], kTileStride);
  if (block.groups > 3) _tile_stored(3, scratch.dots[3], kTileStride);
}

#undef HEARTH_MULTIPLY_GROUP

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

// sums [rows][kTile] += the block's.
template <class Format>
HEARTH_AMX_INLINE void add_block(const LinearJob& job, const Block& block,
                                 const BlockScratch& scratch, __m512* sums) {
  __m512 scales[kGroups];
  if (Format::kFormat == HEARTH_FORMAT_INT4) {
    const auto* at = static_cast<const std::uint16_t*>(job.call->weight.scales) +
                     (block.tile * job.groups + block.group) * kTile;
    for (int g = 0; g < block.groups; ++g)
      scales[g] =
          _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(at + g * kTile)));
  }
  if (block.groups == kGroups) {
    for (std::int64_t r = 0; r < job.rows; ++r)
      sums[r] = add_groups<Format>(job, block, kGroups, r, scratch, scales, sums[r]);
  } else {
    for (std::int64_t r = 0; r < job.rows; ++r)
      sums[r] = add_groups<Format>(job, block, block.groups, r, scratch, scales, sums[r]);
  }
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

template <class Format>
HEARTH_AMX void compute_tiles(const LinearJob& job, std::int64_t first, std::int64_t last) {
  constexpr bool kSpreads = Format::kFormat == HEARTH_FORMAT_INT4;
  const TileScope scope(TileShapes().shape(0, 6, job.rows, kTile).shape(6, 8, kTileRows, kTile));
  BlockScratch scratch[3];
  __m512 sums[kTileRows];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  Block block = block_at(job, first, 0), before = block;
  if (kSpreads) spread_nibbles(job, block, scratch[0]);
  for (std::int64_t i = 0;; ++i) {
    const bool is_behind = i > 0, is_ahead = block.tile < last;
    if (is_ahead) {
      const Block next = block_at(job, block.tile, block.group + block.groups);
      read_ahead<Format>(job, block);
      multiply<Format>(job, block, scratch[i % 2]);
      if (kSpreads && next.tile < last) spread_nibbles(job, next, scratch[(i + 1) % 2]);
      if (is_behind) add_block<Format>(job, before, scratch[(i + 1) % 2], sums);
      if (is_behind && before.tile != block.tile) finish_tile<Format>(job, before.tile, sums);
      before = block;
      block = next;
    } else {
      add_block<Format>(job, before, scratch[(i + 1) % 2], sums);
      return finish_tile<Format>(job, before.tile, sums);
    }
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
