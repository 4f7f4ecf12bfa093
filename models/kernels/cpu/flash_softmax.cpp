#include "models/kernels/cpu/flash_softmax.h"

#include <algorithm>

#include "models/kernels/cpu/amx_math.h"

namespace hearth::kernels::cpu {
namespace {

constexpr int kLanes = 16;
constexpr int kTileFloats = kTileRows * kTileRows;

// The exponent of a weight: slope * score - offset.
struct Line {
  __m512 slope, offset;
};

// Sixteen scores of a row from column 16 i on.
HEARTH_AMX_INLINE __m512 scores_at(const float* row, std::int64_t i) {
  return _mm512_load_ps(row + i / 2 * kBlockFloats + i % 2 * kTileFloats);
}

HEARTH_AMX_INLINE float largest_of_whole(const float* row) {
  __m512 left = scores_at(row, 0), right = scores_at(row, 1);
  for (std::int64_t i = 2; i < kPartKeys / kLanes; i += 2) {
    left = _mm512_max_ps(left, scores_at(row, i));
    right = _mm512_max_ps(right, scores_at(row, i + 1));
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(left, right));
}

HEARTH_AMX_INLINE float largest_of(const float* row, std::int64_t visible) {
  __m512 largest = scores_at(row, 0);
  largest =
      _mm512_mask_mov_ps(_mm512_set1_ps(_mm512_cvtss_f32(largest)), first_lanes(visible), largest);
  const std::int64_t whole = visible / kLanes;
  for (std::int64_t i = 1; i < whole; ++i) largest = _mm512_max_ps(largest, scores_at(row, i));
  if (whole > 0)
    largest = _mm512_mask_max_ps(largest, first_lanes(visible - whole * kLanes), largest,
                                 scores_at(row, std::min(whole, kPartKeys / kLanes - 1)));
  return _mm512_reduce_max_ps(largest);
}

// 2^(slope score - offset) of 16 scores, added to `sum`.
HEARTH_AMX_INLINE __m512 weights_of(__m512 scores, const Line& line, __m512& sum) {
  const __m512 weights = exp2_of(_mm512_fmsub_ps(scores, line.slope, line.offset));
  sum = _mm512_add_ps(sum, weights);
  return weights;
}

// The same of the first `count` scores; the others weigh nothing.
HEARTH_AMX_INLINE __m512 weights_of(__m512 scores, std::int64_t count, const Line& line,
                                    __m512& sum) {
  const __m512 weights = _mm512_maskz_mov_ps(
      first_lanes(count), exp2_of(_mm512_fmsub_ps(scores, line.slope, line.offset)));
  sum = _mm512_add_ps(sum, weights);
  return weights;
}

HEARTH_AMX_INLINE void store_weights(char* to, __m512 low, __m512 high) {
  _mm512_store_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
}

// Every column of a part is seen: the trip counts are constants.
HEARTH_AMX_INLINE void weigh_whole_row(const float* row, const Line& line, __m512& sum,
                                       char* weights) {
  for (std::int64_t step = 0; step < kPartSteps; ++step) {
    const __m512 low = weights_of(scores_at(row, 2 * step), line, sum);
    const __m512 high = weights_of(scores_at(row, 2 * step + 1), line, sum);
    store_weights(weights + step * kStepBytes, low, high);
  }
}

// How far a row sees, and what is written for it.
struct Columns {
  std::int64_t visible, steps;
};

HEARTH_AMX_INLINE void weigh_row(const float* row, const Columns& columns, const Line& line,
                                 __m512& sum, char* weights) {
  for (std::int64_t step = 0; step < columns.steps; ++step) {
    const std::int64_t left = columns.visible - step * kTileDepth;
    __m512 low = _mm512_setzero_ps(), high = _mm512_setzero_ps();
    if (left > 0) {
      low = weights_of(scores_at(row, 2 * step), left, line, sum);
      high = weights_of(scores_at(row, 2 * step + 1), left - kLanes, line, sum);
    }
    store_weights(weights + step * kStepBytes, low, high);
  }
}

HEARTH_AMX_INLINE float exp2_of_one(float x) {
  return _mm512_cvtss_f32(exp2_of(_mm512_set1_ps(x)));
}

}  // namespace

HEARTH_AMX void weigh_part(const PartScores& part, std::int64_t rows, SoftmaxState& state,
                           char* weights, float* factors) {
  const std::int64_t steps = (part.keys + kTileDepth - 1) / kTileDepth;
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* row = row_of(part.scores, i);
    const std::int64_t visible = part.visible[static_cast<std::size_t>(i)];
    char* target = weights + i / kTileRows * kTileBytes + i % kTileRows * kTileStride;
    const bool whole = visible == kPartKeys;
    float largest = whole         ? largest_of_whole(row)
                    : visible > 0 ? largest_of(row, visible)
                                  : state.largest[i];
    factors[i] = 1.0F;
    __m512 sum = _mm512_setzero_ps();
    if (!part.first) {
      largest = std::max(largest, state.largest[i]);
      if (largest != state.largest[i])
        factors[i] = exp2_of_one((state.largest[i] - largest) * part.scale * kLog2OfE);
      sum = _mm512_mul_ps(_mm512_load_ps(state.sums[i]), _mm512_set1_ps(factors[i]));
    }
    const __m512 slope = _mm512_set1_ps(part.scale * kLog2OfE);
    const Line line{slope, _mm512_mul_ps(_mm512_set1_ps(largest), slope)};
    if (whole) {
      weigh_whole_row(row, line, sum, target);
    } else {
      weigh_row(row, {visible, steps}, line, sum, target);
    }
    _mm512_store_ps(state.sums[i], sum);
    state.largest[i] = largest;
  }
}

HEARTH_AMX void scale_rows(const float* factors, std::int64_t rows, std::int64_t blocks,
                           float* sums) {
  for (std::int64_t i = 0; i < rows; ++i) {
    if (factors[i] == 1.0F) continue;
    const __m512 factor = _mm512_set1_ps(factors[i]);
    float* row = sums + (row_of(sums, i) - sums);
    for (std::int64_t block = 0; block < blocks; ++block)
      for (std::int64_t tile = 0; tile < 2; ++tile) {
        float* at = row + block * kBlockFloats + tile * kTileFloats;
        _mm512_store_ps(at, _mm512_mul_ps(_mm512_load_ps(at), factor));
      }
  }
}

HEARTH_AMX void write_rows(const FlashJob& job, std::int64_t row, std::int64_t rows,
                           const SoftmaxState& state, const float* sums) {
  const HearthFlash& flash = job.flash;
  for (std::int64_t i = 0; i < rows; ++i) {
    const __m512 part = _mm512_set1_ps(1.0F / _mm512_reduce_add_ps(_mm512_load_ps(state.sums[i])));
    BFloat16* output = static_cast<BFloat16*>(flash.output) +
                       job.token(row + i) * flash.output_stride +
                       job.head(row + i) * flash.head_dim;
    for (std::int64_t channel = 0; channel < flash.head_dim; channel += kLanes)
      store_bfloat16(output + channel, first_lanes(flash.head_dim - channel),
                     _mm512_mul_ps(scores_at(row_of(sums, i), channel / kLanes), part));
  }
}

}  // namespace hearth::kernels::cpu
