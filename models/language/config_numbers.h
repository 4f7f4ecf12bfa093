// Numbers of a config.json within bounds that no product of two overflows.
//
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "models/files/config.h"
#include "models/files/weight_index.h"
#include "shm/base/result.h"

namespace hearth::language {

// Larger numbers than any model has.
inline constexpr std::int64_t kMostWidth = 1 << 20;
inline constexpr std::int64_t kMostLayers = 1024;
inline constexpr std::int64_t kMostVocabulary = 1 << 24;
inline constexpr std::int64_t kMostContext = 1 << 24;

// In [1, max]; absent: `fallback`, which shapes may have told. Errors: bad_model naming the key,
// also when neither tells.
Result<std::int32_t> number(const files::ConfigValue& value, std::int32_t fallback,
                            std::int64_t max);

// Errors: unsupported when the text is there and another one than `wanted`.
Result<void> expect(const files::ConfigValue& value, std::string_view wanted);

// A dimension of a tensor; 0 when there is no such tensor or dimension.
std::int32_t dimension(const files::WeightIndex& index, std::string_view tensor, std::size_t axis);

// How many of prefix0suffix, prefix1suffix … there are without a gap.
std::int32_t count_tensors(const files::WeightIndex& index, std::string_view prefix,
                           std::string_view suffix);

// 0 when divided by nothing.
inline std::int32_t divided(std::int32_t value, std::int32_t by) {
  return by > 0 ? value / by : 0;
}

}  // namespace hearth::language
