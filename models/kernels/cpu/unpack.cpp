// Weights as numbers again, row by row, for a GEMM that takes no other.

#include <algorithm>
#include <cstring>

#include "models/kernels/bfloat16.h"
#include "models/kernels/check.h"
#include "models/kernels/cpu/functions.h"
#include "models/kernels/cpu/level.h"
#include "models/kernels/cpu/team.h"
#include "models/kernels/formats.h"
#include "models/kernels/rounding.h"

namespace hearth::kernels::cpu {
namespace {

constexpr std::int64_t kChunkNumbers = 64 * 1024;

HEARTH_INLINE float number(float value) {
  return value;
}
HEARTH_INLINE float number(BFloat16 value) {
  return to_float(value);
}
HEARTH_INLINE float number(std::uint8_t value) {
  return load_e4m3(value);
}

template <class W, class T>
HEARTH_INLINE void convert(const W* row, float scale, std::int64_t count, T* target) {
  for (std::int64_t k = 0; k < count; ++k) store(target + k, number(row[k]) * scale);
}

// The 64 levels of a feature in one group, without their offset.
HEARTH_INLINE void gather_group(const HearthMatrix& m, std::int64_t feature, std::int64_t first,
                                std::int8_t* levels) {
  const auto* data = static_cast<const std::uint8_t*>(m.data);
  const std::int64_t groups = groups_of(m.in_features);
  std::uint8_t bytes[kGroup];
  if (m.format == HEARTH_FORMAT_INT8) {
    const std::uint8_t* from = data + int8_place(groups, feature, first);
    for (int q = 0; q < kGroup / 4; ++q) std::memcpy(bytes + 4 * q, from + q * 4 * kTile, 4);
    for (int k = 0; k < kGroup; ++k) levels[k] = static_cast<std::int8_t>(bytes[k] - kInt8Zero);
    return;
  }
  const std::uint8_t* from = data + int4_place(groups, feature, first);
  for (int q = 0; q < kGroup / 8; ++q) std::memcpy(bytes + 4 * q, from + q * 4 * kTile, 4);
  for (int k = 0; k < kGroup / 2; ++k) {
    levels[k] = static_cast<std::int8_t>((bytes[k] & 15) - kInt4Zero);
    levels[k + kGroup / 2] = static_cast<std::int8_t>((bytes[k] >> 4) - kInt4Zero);
  }
}

HEARTH_INLINE float scale_of(const HearthMatrix& m, std::int64_t feature, std::int64_t first) {
  if (m.format == HEARTH_FORMAT_INT8) return static_cast<const float*>(m.scales)[feature];
  const auto* scales = static_cast<const std::uint16_t*>(m.scales);
  return load_f16(scales[int4_scale_place(groups_of(m.in_features), feature, first)]);
}

template <class T>
HEARTH_INLINE void unpack_tiled(const HearthMatrix& m, std::int64_t feature, T* target) {
  for (std::int64_t first = 0; first < m.in_features; first += kGroup) {
    std::int8_t levels[kGroup];
    gather_group(m, feature, first, levels);
    const float scale = scale_of(m, feature, first);
    const std::int64_t count = std::min(kGroup, m.in_features - first);
    for (std::int64_t k = 0; k < count; ++k)
      store(target + first + k, static_cast<float>(levels[k]) * scale);
  }
}

template <class T>
HEARTH_INLINE void unpack_feature(const HearthMatrix& m, std::int64_t feature, T* target) {
  const std::int64_t place = feature * m.in_features;
  switch (m.format) {
    case HEARTH_FORMAT_F32:
      return convert(static_cast<const float*>(m.data) + place, 1.0f, m.in_features, target);
    case HEARTH_FORMAT_BF16:
      return convert(static_cast<const BFloat16*>(m.data) + place, 1.0f, m.in_features, target);
    case HEARTH_FORMAT_FP8:
      return convert(static_cast<const std::uint8_t*>(m.data) + place,
                     static_cast<const float*>(m.scales)[feature], m.in_features, target);
    default:
      return unpack_tiled(m, feature, target);
  }
}

HEARTH_INLINE void unpack_any(const HearthUnpack& u, Chunk chunk) {
  for (std::int64_t i = chunk.first; i < chunk.last; ++i) {
    const std::int64_t place = i * u.matrix.in_features;
    if (u.type == HEARTH_F32)
      unpack_feature(u.matrix, u.first + i, static_cast<float*>(u.target) + place);
    else
      unpack_feature(u.matrix, u.first + i, static_cast<BFloat16*>(u.target) + place);
  }
}

void unpack_generic(const HearthUnpack& u, Chunk chunk) {
  unpack_any(u, chunk);
}
#if defined(__x86_64__)
HEARTH_AVX2 void unpack_avx2(const HearthUnpack& u, Chunk chunk) {
  unpack_any(u, chunk);
}
HEARTH_AVX512 void unpack_avx512(const HearthUnpack& u, Chunk chunk) {
  unpack_any(u, chunk);
}
#endif

auto function() {
#if defined(__x86_64__)
  if (level() >= Level::avx512) return &unpack_avx512;
  if (level() == Level::avx2) return &unpack_avx2;
#endif
  return &unpack_generic;
}

}  // namespace

HearthStatus unpack(const HearthUnpack* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  const auto compute = function();
  for_chunks(call->count, kChunkNumbers / call->matrix.in_features,
             [&](Chunk chunk) { compute(*call, chunk); });
  return HEARTH_OK;
}

}  // namespace hearth::kernels::cpu
