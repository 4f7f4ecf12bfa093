// How weights lie in memory (HearthFormat in kernels.h), one number at a time: sizes, places, 8-bit
// and 16-bit floats. What is fast reads whole tiles; this says what it must find there.
//
// Any thread, no state.
#pragma once

#include <cstddef>
#include <cstdint>

#include "models/kernels/kernels.h"

namespace hearth::kernels {

inline constexpr std::int64_t kTile = HEARTH_TILE;
inline constexpr std::int64_t kGroup = HEARTH_GROUP;
inline constexpr int kInt8Zero = 128;  // what an int8 byte and an int4 nibble hold for zero
inline constexpr int kInt4Zero = 8;
inline constexpr float kFp8Most = 448.0f;

// Bytes of one number.
inline std::size_t item_bytes(HearthType type) {
  return type == HEARTH_F32 ? 4 : 2;
}

inline bool is_tiled(HearthFormat format) {
  return format == HEARTH_FORMAT_INT8 || format == HEARTH_FORMAT_INT4;
}

inline std::int64_t tiles_of(std::int64_t out_features) {
  return (out_features + kTile - 1) / kTile;
}
inline std::int64_t groups_of(std::int64_t in_features) {
  return (in_features + kGroup - 1) / kGroup;
}

// Bytes of one tile of `groups` groups.
inline std::int64_t tile_bytes(HearthFormat format, std::int64_t groups) {
  return groups * kTile * kGroup / (format == HEARTH_FORMAT_INT4 ? 2 : 1);
}

// The byte that holds weight (feature, k); an int4 byte holds two.
inline std::int64_t int8_place(std::int64_t groups, std::int64_t feature, std::int64_t k) {
  return (feature / kTile) * tile_bytes(HEARTH_FORMAT_INT8, groups) + k / 4 * 4 * kTile +
         feature % kTile * 4 + k % 4;
}
inline std::int64_t int4_place(std::int64_t groups, std::int64_t feature, std::int64_t k) {
  const std::int64_t in_half = k % (kGroup / 2);  // low and high nibbles: halves of a group
  return (feature / kTile) * tile_bytes(HEARTH_FORMAT_INT4, groups) +
         k / kGroup * (kGroup * kTile / 2) + in_half / 4 * 4 * kTile + feature % kTile * 4 +
         in_half % 4;
}
inline bool is_high_nibble(std::int64_t k) {
  return k % kGroup >= kGroup / 2;
}
// Index of the scale of an int4 weight.
inline std::int64_t int4_scale_place(std::int64_t groups, std::int64_t feature, std::int64_t k) {
  return (feature / kTile * groups + k / kGroup) * kTile + feature % kTile;
}

float e4m3_to_float(std::uint8_t bits);
float f16_to_float(std::uint16_t bits);
// To nearest, ties to even; e4m3 saturates at 448, f16 overflows to infinity.
std::uint8_t to_e4m3(float value);
std::uint16_t to_f16(float value);

// The number that stands for weight (feature, k).
float weight_at(const HearthMatrix& matrix, std::int64_t feature, std::int64_t k);

}  // namespace hearth::kernels
