// Where one row of a linear's input goes, and what it becomes there.
//
// Any thread: rows of one target may be prepared side by side.
#pragma once

#include <cstdint>

#include "models/kernels/bfloat16.h"
#include "models/kernels/formats.h"

namespace hearth::kernels::cpu {

inline constexpr int kQuadsOfGroup = kGroup / 4;

// By the layout: the one of floats, halves and quads that is not null.
struct Target {
  float* floats = nullptr;
  bool rounds = false;  // floats are rounded to bf16
  BFloat16* halves = nullptr;
  std::int32_t* quads = nullptr;
  float* scales = nullptr;
  std::int32_t* offset_sums = nullptr;
  // Of floats and halves from row to row; of scales from group to group.
  std::int64_t stride = 0;
  std::int64_t row_quads = 0, next_quads = 0;  // from row to row, from quad to quad of a row
};

#if defined(__x86_64__)
// The whole of a row, padded with zeros to groups, with 512-bit vectors.
void prepare_row_avx512(const HearthLinear& linear, const Target& to, std::int64_t row);

// Rows of bf16 as pairs: [in_features up to whole groups / 2, rows, 2]. By AMX's parts of AVX-512.
void pair_rows(const BFloat16* input, std::int64_t stride, const HearthLinear& linear,
               BFloat16* pairs);
#endif

}  // namespace hearth::kernels::cpu
