// Softmax over keys that come in parts: each part's weights are relative to the largest score so
// far, and what earlier parts left is scaled when a larger one is found.
//
// Any thread; needs has_amx().
#pragma once

#include <array>
#include <cstdint>

#include "models/kernels/cpu/amx.h"
#include "models/kernels/cpu/flash_pack.h"

namespace hearth::kernels::cpu {

inline constexpr std::int64_t kPartKeys = 256;  // parts begin at multiples of it
inline constexpr std::int64_t kPartSteps = kPartKeys / kTileDepth;

// What a block of rows carries from part to part.
struct alignas(64) SoftmaxState {
  float sums[kBlock][16];  // of the weights, 16 partial ones for each row
  float largest[kBlock];   // score
};

// Sixteen columns of a block of sums lie 16 floats from row to row, kBlock columns kBlockFloats
// apart.
inline const float* row_of(const float* sums, std::int64_t row) {
  return sums + row / kTileRows * (kBlockFloats / 2) + row % kTileRows * kTileRows;
}

// A part's scores of a block's rows: blocks of sums, one for every kBlock keys.
struct PartScores {
  const float* scores;
  std::int64_t keys;                         // columns that any row sees
  std::array<std::int64_t, kBlock> visible;  // of each row: the first columns
  float scale;
  bool first;  // of the parts: there is no state yet
};

// Writes the weights in bf16 as left tiles [step][2 row tiles][16][32], zeros where a row sees
// nothing, for `keys` rounded up to kTileDepth, and brings the state up to date. factors[row] is
// what the row's earlier results are to be multiplied by. Rows that see no key of the part keep
// their state.
void weigh_part(const PartScores& part, std::int64_t rows, SoftmaxState& state, char* weights,
                float* factors);

// Multiplies each row of `blocks` blocks of sums by its factor.
void scale_rows(const float* factors, std::int64_t rows, std::int64_t blocks, float* sums);

// Divides by the sum of weights and writes the job's rows [row, row + rows).
void write_rows(const FlashJob& job, std::int64_t row, std::int64_t rows, const SoftmaxState& state,
                const float* sums);

}  // namespace hearth::kernels::cpu
