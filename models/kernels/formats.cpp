#include "models/kernels/formats.h"

#include <algorithm>
#include <cmath>

#include "models/kernels/bfloat16.h"

namespace hearth::kernels {
namespace {

// The number of a float format without infinities in the way: exponent 0 is subnormal.
float from_parts(bool negative, int exponent, int mantissa, int mantissa_bits, int bias) {
  const int one = exponent == 0 ? 0 : 1 << mantissa_bits;
  const float magnitude =
      std::ldexp(static_cast<float>(one + mantissa), std::max(exponent, 1) - bias - mantissa_bits);
  return negative ? -magnitude : magnitude;
}

}  // namespace

float e4m3_to_float(std::uint8_t bits) {
  if ((bits & 0x7f) == 0x7f) return std::nanf("");
  return from_parts((bits & 0x80) != 0, bits >> 3 & 15, bits & 7, 3, 7);
}

float f16_to_float(std::uint16_t bits) {
  const bool negative = (bits & 0x8000) != 0;
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  if (exponent == 31) return mantissa != 0 ? std::nanf("") : negative ? -INFINITY : INFINITY;
  return from_parts(negative, exponent, mantissa, 10, 15);
}

std::uint8_t to_e4m3(float value) {
  const auto sign = static_cast<std::uint8_t>(std::signbit(value) ? 0x80 : 0);
  if (std::isnan(value)) return sign | 0x7f;
  const float magnitude = std::min(std::fabs(value), kFp8Most);
  constexpr int kLowest = -6;  // exponent of the smallest normal number
  const int exponent = std::max(magnitude > 0 ? std::ilogb(magnitude) : kLowest, kLowest);
  // Steps of 2^(exponent - 3); eight more make the next exponent.
  const int steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 3 - exponent)));
  return static_cast<std::uint8_t>(sign | std::min(((exponent - kLowest) << 3) + steps, 0x7e));
}

std::uint16_t to_f16(float value) {
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000 : 0);
  if (std::isnan(value)) return sign | 0x7e00;
  const float magnitude = std::fabs(value);
  constexpr int kLowest = -14;
  if (magnitude >= 65520.0f) return sign | 0x7c00;
  const int exponent = std::max(magnitude > 0 ? std::ilogb(magnitude) : kLowest, kLowest);
  const int steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  return static_cast<std::uint16_t>(sign | (((exponent - kLowest) << 10) + steps));
}

float weight_at(const HearthMatrix& matrix, std::int64_t feature, std::int64_t k) {
  const std::int64_t groups = groups_of(matrix.in_features);
  const auto* bytes = static_cast<const std::uint8_t*>(matrix.data);
  const std::int64_t place = feature * matrix.in_features + k;
  switch (matrix.format) {
    case HEARTH_FORMAT_F32:
      return static_cast<const float*>(matrix.data)[place];
    case HEARTH_FORMAT_BF16:
      return to_float(static_cast<const BFloat16*>(matrix.data)[place]);
    case HEARTH_FORMAT_FP8:
      return static_cast<const float*>(matrix.scales)[feature] * e4m3_to_float(bytes[place]);
    case HEARTH_FORMAT_INT8:
      return static_cast<const float*>(matrix.scales)[feature] *
             static_cast<float>(bytes[int8_place(groups, feature, k)] - kInt8Zero);
    case HEARTH_FORMAT_INT4: {
      const int both = bytes[int4_place(groups, feature, k)];
      const int nibble = is_high_nibble(k) ? both >> 4 : both & 15;
      const auto* scales = static_cast<const std::uint16_t*>(matrix.scales);
      return f16_to_float(scales[int4_scale_place(groups, feature, k)]) *
             static_cast<float>(nibble - kInt4Zero);
    }
  }
  return 0.0f;
}

}  // namespace hearth::kernels

size_t hearth_matrix_bytes(HearthFormat format, int64_t out_features, int64_t in_features) {
  using namespace hearth::kernels;
  if (is_tiled(format))
    return static_cast<size_t>(tiles_of(out_features) * tile_bytes(format, groups_of(in_features)));
  const int64_t bytes = format == HEARTH_FORMAT_F32 ? 4 : format == HEARTH_FORMAT_BF16 ? 2 : 1;
  return static_cast<size_t>(out_features * in_features * bytes);
}

size_t hearth_scale_bytes(HearthFormat format, int64_t out_features, int64_t in_features) {
  using namespace hearth::kernels;
  switch (format) {
    case HEARTH_FORMAT_FP8:
      return static_cast<size_t>(out_features) * sizeof(float);
    case HEARTH_FORMAT_INT8:  // the last tile's padding has scales, too
      return static_cast<size_t>(tiles_of(out_features) * kTile) * sizeof(float);
    case HEARTH_FORMAT_INT4:
      return static_cast<size_t>(tiles_of(out_features) * groups_of(in_features) * kTile) *
             sizeof(uint16_t);
    default:
      return 0;
  }
}
