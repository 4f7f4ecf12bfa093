// Queries, keys and values as operands of products with AMX.
//
// Any thread; needs has_amx().
#pragma once

#include <algorithm>
#include <cstdint>

#include "models/kernels/cpu/amx.h"
#include "models/kernels/gemm.h"

namespace hearth::kernels::cpu {

// Query rows that one thread computes together against one key head: tokens [first, last) with all
// query heads of the group, token after token. They see keys [begin, end) at most.
struct FlashJob {
  const HearthFlash& flash;
  std::int64_t kv_head;
  std::int64_t first, last;
  std::int64_t begin, end;

  std::int64_t group() const { return flash.heads / flash.kv_heads; }
  std::int64_t rows() const { return (last - first) * group(); }
  std::int64_t token(std::int64_t row) const { return first + row / group(); }
  std::int64_t head(std::int64_t row) const { return kv_head * group() + row % group(); }
  // Keys [begin, visible_end) are seen by a row.
  std::int64_t visible_end(std::int64_t row) const {
    return flash.segments != nullptr ? end : std::min(end, flash.first + token(row) + 1);
  }
};

// Products that a row of head_dim takes, and blocks of kBlock channels in it.
inline std::int64_t channel_steps(std::int64_t head_dim) {
  return (head_dim + kTileDepth - 1) / kTileDepth;
}

// The job's rows [row, row + kBlock) as left tiles [step][2 row tiles][16][32], zeros beyond.
void pack_queries(const FlashJob& job, std::int64_t row, char* left);

// Keys [first, last), at most `kBlock` of them, as right tiles [step][2 column tiles].
void pack_keys(const FlashJob& job, std::int64_t first, std::int64_t last, char* right);

// Values [first, last) as right tiles: for each kBlock channels [most_steps][2 column tiles], of
// which those that a token falls into are written. Tokens beyond are zeros.
void pack_values(const FlashJob& job, std::int64_t first, std::int64_t last,
                 std::int64_t most_steps, char* right);

}  // namespace hearth::kernels::cpu
