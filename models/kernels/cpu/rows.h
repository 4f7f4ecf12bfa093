// The vector code behind the cpu table: one row, head or part of an operation at a time, compiled
// once for each level of processor.
//
// Each rows_LEVEL.cpp includes lanes/*.inc into a namespace of its own, so that one source serves
// vectors of every width and no inline function is shared between levels. Functions here check
// nothing and take no locks; which thread calls which is the caller's business, as long as no two
// work on the same row (or head) at once.
#pragma once

#include <cstdint>

#include "models/kernels/cpu/level.h"
#include "models/kernels/kernels.h"

namespace hearth::kernels::cpu {

inline constexpr std::int64_t kMostHeadDim = 512;  // of attention and the delta rule
inline constexpr std::int64_t kMostTaps = 16;

// Cached tokens [split * HEARTH_SPLIT_TOKENS, …) of one row for the query heads of `kv_heads` key
// heads from `kv_head` on. How heads are put together changes no bit of a result.
struct AttentionPart {
  std::int64_t row, kv_head, kv_heads, split;
};
inline constexpr std::int64_t kPartHeads = 16;  // query heads, when there are several key heads

// Where a row is sampled: parts of the call's workspace.
struct SampleRow {
  std::int64_t row;
  float* scores;      // [vocabulary]
  std::int32_t* ids;  // [vocabulary]
  float* maxima;      // [kMostMaxima]
};
inline constexpr std::int64_t kMostMaxima = 8192;

struct RowFunctions {
  void (*rms_norm)(const HearthRmsNorm& call, std::int64_t row);
  void (*swiglu)(const HearthSwiGlu& call, std::int64_t row);
  void (*gate)(const HearthGate& call, std::int64_t row);
  void (*rope_write)(const HearthRopeWrite& call, std::int64_t row);
  void (*attention_part)(const HearthAttention& call, AttentionPart part);
  // Joins all parts of a row for the query heads of one key head into the output.
  void (*attention_join)(const HearthAttention& call, std::int64_t row, std::int64_t kv_head);
  // Channels [first, last) of all rows, in order.
  void (*conv_step)(const HearthConvStep& call, std::int64_t first, std::int64_t last);
  // One value head of all rows, in order.
  void (*delta_step)(const HearthDeltaStep& call, std::int64_t head);
  // The token drawn for a row whose slot runs; -1 when a logit is not finite.
  std::int32_t (*draw)(const HearthSample& call, const SampleRow& at);
};

const RowFunctions& row_functions(Level level);

extern const RowFunctions kGenericRows;
#if defined(__x86_64__)
extern const RowFunctions kAvx2Rows;
extern const RowFunctions kAvx512Rows;
extern const RowFunctions kAvx512Bf16Rows;
#endif

}  // namespace hearth::kernels::cpu
