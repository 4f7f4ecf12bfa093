// The two inner loops of everything that multiplies with AMX: a block of 32 x 32 sums, and the
// transposition that makes the right side of a product.
//
// Left tiles hold 16 rows of 32 inputs. Right tiles hold 16 pairs of inputs, each as 16 columns of
// two. A block reads two tiles of a side for every 32 inputs; they lie one behind the other, so
// that each side is one stream.
#pragma once

#include "models/kernels/cpu/amx.h"

namespace hearth::kernels::cpu {

enum class Sums { kFresh, kAdded };  // a block starts from zero, or from what is there

// One block's product.
struct Product {
  const char* left;   // [steps][2 row tiles]
  const char* right;  // [steps][2 column tiles]
  int steps;          // of 32 inputs
  Sums start;
  bool lower;  // false: the block's second 16 rows do not exist and are left alone
};

template <bool kLower>
HEARTH_AMX_INLINE void multiply_rows(const Product& product, float* sums, Prefetch& ahead,
                                     int lines_a_step) {
  constexpr int kTile = kTileRows * kTileRows;
  if (product.start == Sums::kFresh) {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (kLower) {
      _tile_zero(2);
      _tile_zero(3);
    }
  } else {
    _tile_loadd(0, sums, kTileStride);
    _tile_loadd(1, sums + kTile, kTileStride);
    if constexpr (kLower) {
      _tile_loadd(2, sums + 2 * kTile, kTileStride);
      _tile_loadd(3, sums + 3 * kTile, kTileStride);
    }
  }
  const char* left = product.left;
  const char* right = product.right;
  for (int step = 0; step < product.steps; ++step, left += kStepBytes, right += kStepBytes) {
    _tile_loadd(4, left, kTileStride);
    _tile_loadd(6, right, kTileStride);
    _tile_loadd(7, right + kTileBytes, kTileStride);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kLower) _tile_loadd(5, left + kTileBytes, kTileStride);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (kLower) {
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    fetch(ahead, lines_a_step);
  }
  _tile_stored(0, sums, kTileStride);
  _tile_stored(1, sums + kTile, kTileStride);
  if constexpr (kLower) {
    _tile_stored(2, sums + 2 * kTile, kTileStride);
    _tile_stored(3, sums + 3 * kTile, kTileStride);
  }
}

// sums [2 row tiles][2 column tiles][16][16] = or += left * right. With each step `lines_a_step`
// lines of `ahead` are fetched.
HEARTH_AMX_INLINE void multiply_block(const Product& product, float* sums, Prefetch& ahead,
                                      int lines_a_step) {
  if (product.lower) {
    multiply_rows<true>(product, sums, ahead, lines_a_step);
  } else {
    multiply_rows<false>(product, sums, ahead, lines_a_step);
  }
}

HEARTH_AMX_INLINE void multiply_block(const Product& product, float* sums) {
  Prefetch nothing;
  multiply_block(product, sums, nothing, 0);
}

// rows[i] holds 16 pairs of inputs of row i; afterwards rows[p] holds pair p of the 16 rows.
HEARTH_AMX_INLINE void transpose_pairs(__m512i (&rows)[kTileRows]) {
  __m512i a[kTileRows];
  for (int i = 0; i < kTileRows; i += 2) {
    a[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  // Lane l of rows[4 g + j]: pair 4 l + j of rows 4 g .. 4 g + 3.
  for (int g = 0; g < kTileRows; g += 4) {
    rows[g] = _mm512_unpacklo_epi64(a[g], a[g + 2]);
    rows[g + 1] = _mm512_unpackhi_epi64(a[g], a[g + 2]);
    rows[g + 2] = _mm512_unpacklo_epi64(a[g + 1], a[g + 3]);
    rows[g + 3] = _mm512_unpackhi_epi64(a[g + 1], a[g + 3]);
  }
  // What is left is to transpose 4 x 4 lanes for each j.
  for (int j = 0; j < 4; ++j) {
    a[j] = _mm512_shuffle_i32x4(rows[j], rows[4 + j], 0x44);
    a[4 + j] = _mm512_shuffle_i32x4(rows[j], rows[4 + j], 0xee);
    a[8 + j] = _mm512_shuffle_i32x4(rows[8 + j], rows[12 + j], 0x44);
    a[12 + j] = _mm512_shuffle_i32x4(rows[8 + j], rows[12 + j], 0xee);
  }
  for (int j = 0; j < 4; ++j) {
    rows[j] = _mm512_shuffle_i32x4(a[j], a[8 + j], 0x88);
    rows[4 + j] = _mm512_shuffle_i32x4(a[j], a[8 + j], 0xdd);
    rows[8 + j] = _mm512_shuffle_i32x4(a[4 + j], a[12 + j], 0x88);
    rows[12 + j] = _mm512_shuffle_i32x4(a[4 + j], a[12 + j], 0xdd);
  }
}

// How 32 inputs of a row become bf16; lanes outside `mask` are zero and not read.
struct RowsOfBFloat16 {
  static constexpr std::int64_t kElementBytes = 2;
  HEARTH_AMX_INLINE static __m512i load(const char* row, __mmask32 mask) {
    return _mm512_maskz_loadu_epi16(mask, row);
  }
};

// The first `count` of 32 lanes.
HEARTH_AMX_INLINE __mmask32 first_pair_lanes(std::int64_t count) {
  if (count >= kTileDepth) return 0xffffffff;
  return count <= 0 ? __mmask32{0} : static_cast<__mmask32>((std::uint64_t{1} << count) - 1);
}

// 32 inputs of `rows` rows as a right tile, whose other columns are zero. stride in bytes.
template <class Rows>
HEARTH_AMX_INLINE void transpose_tile(const char* row, std::int64_t stride, std::int64_t rows,
                                      __mmask32 mask, char* target) {
  __m512i pairs[kTileRows];
  if (rows >= kTileRows) {
    for (int i = 0; i < kTileRows; ++i) pairs[i] = Rows::load(row + i * stride, mask);
  } else {
    for (int i = 0; i < kTileRows; ++i)
      pairs[i] = i < rows ? Rows::load(row + i * stride, mask) : _mm512_setzero_si512();
  }
  transpose_pairs(pairs);
  for (int i = 0; i < kTileRows; ++i) _mm512_store_si512(target + i * kTileStride, pairs[i]);
}

}  // namespace hearth::kernels::cpu
