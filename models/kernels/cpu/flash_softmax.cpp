#include "models/kernels/cpu/flash_softmax.h"

#include <algorithm>

#include "models/kernels/cpu/amx_math.h"

namespace hearth::kernels::cpu {
namespace {

constexpr int kLanes = 16;
constexpr int kTileFloats = kTileRows * kTileRows;

// Sixteen scores of a row from column 16 i on.
HEARTH_AMX_INLINE __m512 scores_at(const float* row, std::int64_t i) {
  return _mm512_load_ps(row + i / 2 * kBlockFloats + i % 2 * kTileFloats);
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

// e^(scale (score - largest)) of 32 columns from 32 `step` on, as bf16; adds them to `sum`.
HEARTH_AMX_INLINE __m512i weights_of(const float* row, std::int64_t step, std::int64_t visible,
                                     __m512 slope, __m512 offset, __m512& sum) {
  const std::int64_t left = visible - step * kTileDepth;
  const __m512 low = exp2_of(_mm512_fmsub_ps(scores_at(row, 2 * step), slope, offset));
  const __m512 high = exp2_of(_mm512_fmsub_ps(scores_at(row, 2 * step + 1), slope, offset));
  const __m512 seen_low = _mm512_maskz_mov_ps(first_lanes(left), low);
  const __m512 seen_high = _mm512_maskz_mov_ps(first_lanes(left - kLanes), high);
  sum = _mm512_add_ps(sum, _mm512_add_ps(seen_low, seen_high));
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(seen_high, seen_low));
}

HEARTH_AMX_INLINE void weigh_row(const PartScores& part, const float* row, std::int64_t visible,
                                 float largest, __m512& sum, char* weights) {
  const __m512 slope = _mm512_set1_ps(part.scale * kLog2OfE);
  const __m512 offset = _mm512_mul_ps(_mm512_set1_ps(largest), slope);
  const std::int64_t steps = (part.keys + kTileDepth - 1) / kTileDepth;
  const std::int64_t whole = visible / kTileDepth;
  for (std::int64_t step = 0; step < whole; ++step)
    _mm512_store_si512(weights + step * kStepBytes,
                       weights_of(row, step, kPartKeys, slope, offset, sum));
  for (std::int64_t step = whole; step < steps; ++step)
    _mm512_store_si512(weights + step * kStepBytes,
                       step * kTileDepth < visible
                           ? weights_of(row, step, visible, slope, offset, sum)
                           : _mm512_setzero_si512());
}

HEARTH_AMX_INLINE float exp2_of_one(float x) {
  return _mm512_cvtss_f32(exp2_of(_mm512_set1_ps(x)));
}

}  // namespace

HEARTH_AMX void weigh_part(const PartScores& part, std::int64_t rows, SoftmaxState& state,
                           char* weights, float* factors) {
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* row = row_of(part.scores, i);
    const std::int64_t visible = part.visible[static_cast<std::size_t>(i)];
    char* target = weights + i / kTileRows * kTileBytes + i % kTileRows * kTileStride;
    float largest = visible > 0 ? largest_of(row, visible) : state.largest[i];
    factors[i] = 1.0F;
    __m512 sum = _mm512_setzero_ps();
    if (!part.first) {
      largest = std::max(largest, state.largest[i]);
      if (largest != state.largest[i])
        factors[i] = exp2_of_one((state.largest[i] - largest) * part.scale * kLog2OfE);
      sum = _mm512_mul_ps(_mm512_load_ps(state.sums[i]), _mm512_set1_ps(factors[i]));
    }
    weigh_row(part, row, visible, largest, sum, target);
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
