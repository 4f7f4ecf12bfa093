// The search for an int4 group's scale (pack.h says how), as vector code of its caller's level.
//
// Any thread, no state.
#pragma once

#include <algorithm>

#include "models/kernels/pack.h"
#include "models/kernels/rounding.h"

namespace hearth::kernels::int4_search {

inline constexpr float kCandidates[] = {7.0f, 7.5f, 8.0f, 8.5f, 9.25f, 10.0f, 11.0f, 12.0f};

HEARTH_INLINE float level_of(float weight, float inverse) {
  const float level = weight * inverse + kRounder - kRounder;
  return std::min(std::max(level, -8.0f), 7.0f);
}

struct Fit {
  float error;
  float by_least_squares;  // the scale that suits these levels best
};

HEARTH_INLINE Fit fit(const float* weights, float scale) {
  const float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
  float errors[16] = {}, products[16] = {}, squares[16] = {};
  for (int k = 0; k < kGroup; k += 16)
    for (int i = 0; i < 16; ++i) {
      const float w = weights[k + i], level = level_of(w, inverse), off = w - level * scale;
      errors[i] += off * off;
      products[i] += w * level;
      squares[i] += level * level;
    }
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) {
      errors[i] += errors[i + half];
      products[i] += products[i + half];
      squares[i] += squares[i + half];
    }
  return {errors[0], squares[0] > 0.0f ? products[0] / squares[0] : 0.0f};
}

HEARTH_INLINE float outlier(const float* weights) {
  float most = 0.0f, least = 0.0f;
  for (int k = 0; k < kGroup; ++k) {
    most = std::max(most, weights[k]);
    least = std::min(least, weights[k]);
  }
  return most > -least ? most : least;
}

HEARTH_INLINE void round_group(const float* weights, Int4Group& group) {
  const float largest = outlier(weights);
  float best_scale = 0.0f, refined = 0.0f, best_error = 0.0f;
  bool found = false;
  const auto consider = [&](float wanted) __attribute__((always_inline)) {
    const float scale = load_f16(store_f16(wanted));
    const Fit result = fit(weights, scale);
    if (found && !(result.error < best_error)) return;
    found = true;
    best_scale = scale;
    best_error = result.error;
    refined = result.by_least_squares;
  };
  for (const float candidate : kCandidates) consider(largest / -candidate);
  consider(refined);
  const float inverse = best_scale != 0.0f ? 1.0f / best_scale : 0.0f;
  group.scale = store_f16(best_scale);
  for (int k = 0; k < kGroup; ++k)
    group.levels[k] = static_cast<std::uint8_t>(
        static_cast<std::int32_t>(level_of(weights[k], inverse)) + kInt4Zero);
}

}  // namespace hearth::kernels::int4_search
