// What the inner loops of a linear read, and what they do with a finished tile of outputs.
//
// A tile is HEARTH_TILE output features, whatever the format. An inner loop computes all rows of a
// run of tiles; several threads run it on different tiles of one job. Sums of a row are added in
// the same order however many rows there are, so a row's bits do not depend on its company.
#pragma once

#include <algorithm>
#include <cstdint>

#include "models/kernels/bfloat16.h"
#include "models/kernels/check.h"
#include "models/kernels/cpu/exponential.h"
#include "models/kernels/formats.h"

namespace hearth::kernels::cpu {

// How an inner loop wants its input.
enum class Layout {
  kFloats,      // [rows, stride]; of bf16 weights rounded to bf16
  kHalves,      // [rows, stride] of bf16
  kPairs,       // bf16, two of a row beside those of other rows: [stride / 2, rows, 2]
  kQuads,       // signed bytes, rows beside each other: [groups, 16, padded_rows, 4]
  kRowsOfBytes  // signed bytes, row by row: [groups, padded_rows, 64]
};

struct LinearJob {
  const HearthLinear* call;
  std::int64_t rows;

  // Formats stored row by row: floats, or bf16 where the level multiplies it. Pairs are zero up to
  // the stride, a multiple of kGroup.
  const void* input;
  std::int64_t input_stride;

  // Tiled formats: rows rounded up to padded_rows, the added ones zero.
  std::int64_t groups, padded_rows;
  const std::int32_t* quads;        // four signed bytes each
  const float* input_scales;        // [groups, padded_rows]
  const std::int32_t* offset_sums;  // [groups, padded_rows]: what a group's sum starts from
};

// Computes tiles [first, last).
using TileFunction = void (*)(const LinearJob& job, std::int64_t first, std::int64_t last);

struct TileFunctions {
  TileFunction f32, bf16, fp8, int8, int4;
  bool multiplies_bf16;  // bf16's input is bf16, not floats
};
extern const TileFunctions kGenericTiles;
#if defined(__x86_64__)
extern const TileFunctions kAvx2Tiles, kAvx512Tiles, kAvx512VnniTiles, kAvx512Bf16Tiles, kAmxTiles;
#endif

// The fastest inner loop for this processor, format and number of rows.
struct Choice {
  TileFunction compute;
  Layout layout;
};
Choice choose(const HearthLinear& linear);

// Weights a thread claims at once: enough to hide the claim, few enough that a thread which another
// program stops holds little.
inline constexpr std::int64_t kClaimedBytes = 128 * 1024;

// --- outputs ------------------------------------------------------------------------------------

template <class T>
HEARTH_INLINE void put(const HearthLinear& l, std::int64_t row, std::int64_t first, int count,
                       const float* y) {
  T* output = static_cast<T*>(l.output) + row * l.output_stride + first;
  if (l.epilogue == HEARTH_ADD) {
    for (int i = 0; i < count; ++i) store(output + i, to_float(output[i]) + y[i]);
  } else {
    for (int i = 0; i < count; ++i) store(output + i, y[i]);
  }
}

// Bias, epilogue and the one rounding for outputs of one row and tile. y: [kTile], is overwritten.
HEARTH_INLINE void finish(const HearthLinear& l, std::int64_t row, std::int64_t tile, float* y) {
  const std::int64_t first = tile * kTile;
  int count = static_cast<int>(std::min(kTile, l.weight.out_features - first));
  if (l.bias != nullptr) {
    for (int i = 0; i < count; ++i)
      y[i] += l.type == HEARTH_F32 ? static_cast<const float*>(l.bias)[first + i]
                                   : to_float(static_cast<const BFloat16*>(l.bias)[first + i]);
  }
  std::int64_t target = first;
  if (l.epilogue == HEARTH_SWIGLU) {
    for (int i = 0; i < kTile / 2; ++i) y[i] = silu(y[2 * i]) * y[2 * i + 1];
    count /= 2;
    target /= 2;
  }
  if (l.output_type == HEARTH_F32)
    put<float>(l, row, target, count, y);
  else
    put<BFloat16>(l, row, target, count, y);
}

}  // namespace hearth::kernels::cpu
