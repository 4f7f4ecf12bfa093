// bf16 by AMX: 16 features by 32 inputs of the weights, as they lie in memory, are the left side of
// a product, pairs of inputs of all rows the right one.
//
// A sum is that of the even steps of 32 inputs plus that of the odd ones, however many rows and
// features are computed together, so a row's bits do not depend on its company.

#if defined(__x86_64__)

#include <cstring>

#include "models/kernels/cpu/amx_math.h"
#include "models/kernels/cpu/amx_tiles.h"
#include "models/kernels/cpu/linear_job.h"
#include "models/kernels/cpu/linear_target.h"
#include "models/kernels/cpu/quantised.h"

namespace hearth::kernels::cpu {
namespace {

constexpr int kParts = 2;  // of a sum: even and odd steps

// One or two tiles of features.
struct Features {
  const char* weights;
  std::int64_t stride;  // bytes from one to the next
  int count;            // of the first tile; a second one is whole
};

// The last inputs of up to two tiles of features, fewer than a step has, and zeros.
struct LastStep {
  alignas(64) BFloat16 weights[2 * kTileRows][kTileDepth] = {};

  LastStep(const Features& features, int count, std::int64_t in_features) {
    const std::int64_t whole = in_features / kTileDepth * kTileDepth;
    const char* source = features.weights + whole * std::int64_t{sizeof(BFloat16)};
    for (int f = 0; f < count; ++f)
      std::memcpy(weights[f], source + f * features.stride,
                  static_cast<std::size_t>(in_features - whole) * sizeof(BFloat16));
  }
};

// Adds one step of 32 inputs to a part of the sums: tiles 0 and 1 of the first features, 2 and 3 of
// the second ones, which lie behind.
template <int kTiles, int kPart>
HEARTH_AMX_INLINE void add_step(const char* first, std::int64_t stride, const char* input,
                                std::int64_t input_stride) {
  const char* second = first + kTileRows * stride;
  if constexpr (kPart == 0) {
    _tile_loadd(6, input, input_stride);
    _tile_loadd(4, first, stride);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kTiles == 2) {
      _tile_loadd(5, second, stride);
      _tile_dpbf16ps(2, 5, 6);
    }
  } else {
    _tile_loadd(7, input, input_stride);
    _tile_loadd(4, first, stride);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (kTiles == 2) {
      _tile_loadd(5, second, stride);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
}

template <int kTiles>
HEARTH_AMX_INLINE void store_sums(float* sums) {
  constexpr int kFloats = kTileRows * kTileRows;
  _tile_stored(0, sums, kTileStride);
  _tile_stored(1, sums + kFloats, kTileStride);
  if constexpr (kTiles == 2) {
    _tile_stored(2, sums + 2 * kFloats, kTileStride);
    _tile_stored(3, sums + 3 * kFloats, kTileStride);
  }
}

// sums [kTiles][kParts][16 features][16 rows]. The next features' lines are fetched on the way:
// they lie right behind these.
template <int kTiles>
HEARTH_AMX_INLINE void multiply(const LinearJob& job, const Features& features, float* sums) {
  constexpr std::int64_t kLines = std::int64_t{kParts} * kTiles * kTileRows;
  const std::int64_t in_features = job.call->weight.in_features, steps = in_features / kTileDepth;
  const std::int64_t stride = features.stride;
  const std::int64_t input_stride = job.rows * 4, input_step = input_stride * kTileRows;
  const char* input = static_cast<const char*>(job.input);
  const char* weights = features.weights;
  const char* ahead = weights + kTiles * kTileRows * stride;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (std::int64_t step = 0; step + kParts <= steps; step += kParts) {
    add_step<kTiles, 0>(weights, stride, input, input_stride);
    add_step<kTiles, 1>(weights + kTileStride, stride, input + input_step, input_stride);
    for (std::int64_t line = 0; line < kLines; ++line) _mm_prefetch(ahead + line * 64, _MM_HINT_T1);
    weights += kParts * kTileStride;
    input += kParts * input_step;
    ahead += kLines * 64;
  }
  if (steps % kParts != 0) {
    add_step<kTiles, 0>(weights, stride, input, input_stride);
    input += input_step;
  }
  if (steps * kTileDepth < in_features) {
    const LastStep last(features, kTiles == 2 ? 2 * kTileRows : features.count, in_features);
    finish_stores();
    add_step<kTiles, 1>(reinterpret_cast<const char*>(last.weights), kTileStride, input,
                        input_stride);
  }
  store_sums<kTiles>(sums);
}

// Adds the parts, turns features by rows into rows by features, and finishes them.
HEARTH_AMX_INLINE void finish_tile(const LinearJob& job, std::int64_t tile, const float* sums) {
  __m512i totals[kTileRows];
  for (int f = 0; f < kTileRows; ++f)
    totals[f] = _mm512_castps_si512(_mm512_add_ps(
        _mm512_load_ps(sums + f * kTileRows), _mm512_load_ps(sums + (kTileRows + f) * kTileRows)));
  transpose_pairs(totals);
  for (std::int64_t r = 0; r < job.rows; ++r) {
    alignas(64) float y[kTile];
    _mm512_store_si512(y, totals[r]);
    finish(*job.call, r, tile, y);
  }
}

Features features_of(const LinearJob& job, std::int64_t tile) {
  const HearthMatrix& m = job.call->weight;
  const std::int64_t stride = m.in_features * std::int64_t{sizeof(BFloat16)};
  return {static_cast<const char*>(m.data) + tile * kTile * stride, stride,
          static_cast<int>(std::min(kTile, m.out_features - tile * kTile))};
}

TileShapes shapes_of(const LinearJob& job, int features) {
  return TileShapes()
      .shape(0, 4, features, job.rows)
      .shape(4, 6, features, kTileRows)
      .shape(6, 8, kTileRows, job.rows);
}

HEARTH_AMX void bf16_tiles(const LinearJob& job, std::int64_t first, std::int64_t last) {
  constexpr int kTileFloats = kParts * kTileRows * kTileRows;
  alignas(64) float sums[2 * kTileFloats];
  const std::int64_t whole = std::min(last, job.call->weight.out_features / kTile);
  {
    const TileScope scope(shapes_of(job, kTileRows));
    for (; first + 2 <= whole; first += 2) {
      multiply<2>(job, features_of(job, first), sums);
      finish_tile(job, first, sums);
      finish_tile(job, first + 1, sums + kTileFloats);
    }
  }
  for (; first < last; ++first) {
    const Features features = features_of(job, first);
    const TileScope scope(shapes_of(job, features.count));
    multiply<1>(job, features, sums);
    finish_tile(job, first, sums);
  }
}

}  // namespace

HEARTH_AMX void pair_rows(const BFloat16* input, std::int64_t stride, const HearthLinear& l,
                          BFloat16* pairs) {
  const std::int64_t in_features = l.weight.in_features;
  const __mmask16 rows = first_lanes(l.rows);
  for (std::int64_t k = 0; k < groups_of(in_features) * kGroup; k += kTileDepth) {
    const __mmask32 mask = first_pair_lanes(in_features - k);
    __m512i lines[kTileRows];
    for (std::int64_t r = 0; r < kTileRows; ++r)
      lines[r] = r < l.rows ? _mm512_maskz_loadu_epi16(mask, input + r * stride + k)
                            : _mm512_setzero_si512();
    if (l.rows == 1) {
      _mm512_storeu_si512(pairs + k, lines[0]);
      continue;
    }
    transpose_pairs(lines);
    for (std::int64_t pair = 0; pair < kTileRows; ++pair)
      _mm512_mask_storeu_epi32(pairs + (k + 2 * pair) * l.rows, rows, lines[pair]);
  }
}

const TileFunctions kAmxTiles = {nullptr,        bf16_tiles,     nullptr,
                                 int8_tiles_amx, int4_tiles_amx, true};

}  // namespace hearth::kernels::cpu

#endif
