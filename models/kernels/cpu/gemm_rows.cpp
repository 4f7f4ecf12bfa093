#include "models/kernels/cpu/gemm_rows.h"

#include <algorithm>
#include <cmath>

#include "models/kernels/cpu/amx_math.h"
#include "models/kernels/cpu/amx_tiles.h"

namespace hearth::kernels::cpu {
namespace {

constexpr int kLanes = 16;

// What takes a row to its norm: (x - mean) * scale.
struct Moments {
  float mean = 0.0F, scale = 1.0F;
};

HEARTH_AMX float sum_of(const BFloat16* row, std::int64_t width) {
  __m512 sum = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < width; i += kLanes)
    sum = _mm512_add_ps(sum, load_bfloat16(row + i, first_lanes(width - i)));
  return _mm512_reduce_add_ps(sum);
}

HEARTH_AMX float squares_about(const BFloat16* row, std::int64_t width, float mean) {
  __m512 sum = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < width; i += kLanes) {
    const __mmask16 lanes = first_lanes(width - i);
    const __m512 x =
        _mm512_maskz_sub_ps(lanes, load_bfloat16(row + i, lanes), _mm512_set1_ps(mean));
    sum = _mm512_fmadd_ps(x, x, sum);
  }
  return _mm512_reduce_add_ps(sum);
}

Moments moments_of(const HearthGemm& gemm, const BFloat16* row) {
  const auto width = static_cast<float>(gemm.weight.in_features);
  Moments moments;
  if (gemm.norm == HEARTH_LAYER_NORM) moments.mean = sum_of(row, gemm.weight.in_features) / width;
  const float squares = squares_about(row, gemm.weight.in_features, moments.mean);
  moments.scale = 1.0F / std::sqrt(squares / width + gemm.norm_epsilon);
  return moments;
}

HEARTH_AMX_INLINE __m512 normalised(const HearthGemm& gemm, const Moments& moments, __m512 x,
                                    std::int64_t i, __mmask16 lanes) {
  const __m512 weight = _mm512_maskz_loadu_ps(lanes, gemm.norm_weight + i);
  const __m512 centred = _mm512_sub_ps(x, _mm512_set1_ps(moments.mean));
  const __m512 unit = _mm512_mul_ps(centred, _mm512_set1_ps(moments.scale));
  if (gemm.norm == HEARTH_RMS_NORM) return _mm512_mul_ps(unit, weight);
  return _mm512_fmadd_ps(unit, weight, _mm512_maskz_loadu_ps(lanes, gemm.norm_bias + i));
}

HEARTH_AMX void pack_normalised(const HearthGemm& gemm, const BFloat16* row, char* target) {
  const std::int64_t width = gemm.weight.in_features;
  const Moments moments = moments_of(gemm, row);
  for (std::int64_t step = 0; step < depth_steps(width); ++step)
    for (int half = 0; half < 2; ++half) {
      const std::int64_t i = step * kTileDepth + half * kLanes;
      const __mmask16 lanes = first_lanes(width - i);
      const __m512 x = normalised(gemm, moments, load_bfloat16(row + i, lanes), i, lanes);
      auto* to = reinterpret_cast<BFloat16*>(target + step * kStepBytes) + half * kLanes;
      store_bfloat16(to, 0xffff, _mm512_maskz_mov_ps(lanes, x));
    }
}

// Four lines of each row at a time: a row's lines in the target stand so far apart that they would
// push one another out of the first-level cache.
HEARTH_AMX void pack_copied(const HearthGemm& gemm, std::int64_t first, std::int64_t rows,
                            char* left) {
  constexpr std::int64_t kAtOnce = 4;
  const std::int64_t width = gemm.weight.in_features;
  const auto* source = static_cast<const BFloat16*>(gemm.input) + first * gemm.input_stride;
  const std::int64_t steps = depth_steps(width);
  for (std::int64_t from = 0; from < steps; from += kAtOnce)
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t step = from; step < std::min(from + kAtOnce, steps); ++step) {
        const std::int64_t i = step * kTileDepth;
        const __mmask32 lanes = first_pair_lanes(width - i);
        const __m512i x = _mm512_maskz_loadu_epi16(lanes, source + row * gemm.input_stride + i);
        _mm512_store_si512(left + step * kStepBytes + row * kTileStride, x);
      }
}

HEARTH_AMX void zero_row(std::int64_t steps, char* target) {
  for (std::int64_t step = 0; step < steps; ++step)
    _mm512_store_si512(target + step * kStepBytes, _mm512_setzero_si512());
}

}  // namespace

void pack_rows(const HearthGemm& gemm, std::int64_t first, std::int64_t end, char* left) {
  const std::int64_t rows = std::clamp<std::int64_t>(end - first, 0, kTileRows);
  const auto* source = static_cast<const BFloat16*>(gemm.input);
  if (gemm.norm == HEARTH_NO_NORM) {
    pack_copied(gemm, first, rows, left);
  } else {
    for (std::int64_t row = 0; row < rows; ++row)
      pack_normalised(gemm, source + (first + row) * gemm.input_stride, left + row * kTileStride);
  }
  for (std::int64_t row = rows; row < kTileRows; ++row)
    zero_row(depth_steps(gemm.weight.in_features), left + row * kTileStride);
}

}  // namespace hearth::kernels::cpu
