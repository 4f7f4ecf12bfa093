#include "models/kernels/pack.h"

#include <algorithm>
#include <cstring>

#include "models/kernels/bfloat16.h"
#include "models/kernels/check.h"
#include "models/kernels/cpu/level.h"
#include "models/kernels/int4_search.h"
#include "models/kernels/rounding.h"

namespace hearth::kernels {
namespace {

// The bits of the largest |value|: of numbers that are not finite, too, and those are the largest.
template <class T>
HEARTH_INLINE std::uint32_t largest_bits(const T* row, std::int64_t count) {
  std::uint32_t largest = 0;
  for (std::int64_t k = 0; k < count; ++k)
    largest = std::max(largest, bits_of(to_float(row[k])) & 0x7fffffffU);
  return largest;
}
constexpr std::uint32_t kInfinityBits = 0x7f800000;

// Where a row's bytes go: 4 inputs of a feature every 4 * kTile bytes.
HEARTH_INLINE void spread(const std::uint8_t* dense, int quads, std::uint8_t* target) {
  for (int q = 0; q < quads; ++q) std::memcpy(target + q * 4 * kTile, dense + q * 4, 4);
}

// The inputs of a group, zeros behind the last.
template <class T>
HEARTH_INLINE void load_group(const T* row, std::int64_t first, std::int64_t in_features,
                              float* group) {
  const std::int64_t count = std::min(kGroup, in_features - first);
  if (count == kGroup) {
    for (int k = 0; k < kGroup; ++k) group[k] = to_float(row[first + k]);
  } else {
    for (int k = 0; k < kGroup; ++k) group[k] = k < count ? to_float(row[first + k]) : 0.0f;
  }
}

template <class T>
HEARTH_INLINE bool pack_int4(const HearthMatrix& m, const T* row, std::int64_t feature) {
  if (largest_bits(row, m.in_features) >= kInfinityBits) return false;
  const std::int64_t groups = groups_of(m.in_features);
  auto* data = static_cast<std::uint8_t*>(const_cast<void*>(m.data));
  auto* scales = static_cast<std::uint16_t*>(const_cast<void*>(m.scales));
  for (std::int64_t g = 0; g < groups; ++g) {
    alignas(64) float weights[kGroup];
    alignas(64) std::uint8_t both[kGroup / 2];
    Int4Group group;
    load_group(row, g * kGroup, m.in_features, weights);
    int4_search::round_group(weights, group);
    for (int k = 0; k < kGroup / 2; ++k)
      both[k] = static_cast<std::uint8_t>(group.levels[k] | group.levels[k + kGroup / 2] << 4);
    spread(both, kGroup / 8, data + int4_place(groups, feature, g * kGroup));
    scales[int4_scale_place(groups, feature, g * kGroup)] = group.scale;
  }
  return true;
}

template <class T>
HEARTH_INLINE bool pack_int8(const HearthMatrix& m, const T* row, std::int64_t feature) {
  const std::uint32_t largest = largest_bits(row, m.in_features);
  if (largest >= kInfinityBits) return false;
  const std::int64_t groups = groups_of(m.in_features);
  const float scale = bits_to_float(largest) / 127.0f, inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  auto* data = static_cast<std::uint8_t*>(const_cast<void*>(m.data));
  for (std::int64_t g = 0; g < groups; ++g) {
    alignas(64) float weights[kGroup];
    alignas(64) std::uint8_t bytes[kGroup];
    load_group(row, g * kGroup, m.in_features, weights);
    for (int k = 0; k < kGroup; ++k) {
      const std::int32_t level = round_to_int(weights[k] * inverse);
      bytes[k] = static_cast<std::uint8_t>(std::min(std::max(level, -127), 127) + kInt8Zero);
    }
    spread(bytes, kGroup / 4, data + int8_place(groups, feature, g * kGroup));
  }
  static_cast<float*>(const_cast<void*>(m.scales))[feature] = scale;
  return true;
}

template <class T>
HEARTH_INLINE bool pack_fp8(const HearthMatrix& m, const T* row, std::int64_t feature) {
  const std::uint32_t largest = largest_bits(row, m.in_features);
  if (largest >= kInfinityBits) return false;
  const float scale = bits_to_float(largest) / kFp8Most;
  const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  auto* target = static_cast<std::uint8_t*>(const_cast<void*>(m.data)) + feature * m.in_features;
  for (std::int64_t k = 0; k < m.in_features; ++k)
    target[k] = store_e4m3(to_float(row[k]) * inverse);
  static_cast<float*>(const_cast<void*>(m.scales))[feature] = scale;
  return true;
}

template <class T>
HEARTH_INLINE bool convert(const HearthMatrix& m, const T* row, std::int64_t feature) {
  void* target = const_cast<void*>(m.data);
  const std::int64_t first = feature * m.in_features;
  for (std::int64_t k = 0; k < m.in_features; ++k) {
    if (m.format == HEARTH_FORMAT_F32)
      store(static_cast<float*>(target) + first + k, to_float(row[k]));
    else
      store(static_cast<BFloat16*>(target) + first + k, to_float(row[k]));
  }
  return true;
}

template <class T>
HEARTH_INLINE bool pack_row(const HearthMatrix& m, const T* row, std::int64_t feature) {
  switch (m.format) {
    case HEARTH_FORMAT_FP8:
      return pack_fp8(m, row, feature);
    case HEARTH_FORMAT_INT8:
      return pack_int8(m, row, feature);
    case HEARTH_FORMAT_INT4:
      return pack_int4(m, row, feature);
    default:
      return convert(m, row, feature);
  }
}

template <class T>
HEARTH_INLINE bool pack_rows(const HearthPack& p) {
  const T* source = static_cast<const T*>(p.source);
  for (std::int64_t i = 0; i < p.rows; ++i)
    if (!pack_row(p.matrix, source + i * p.matrix.in_features, p.first + i * p.step)) return false;
  return true;
}

HEARTH_INLINE bool pack_any(const HearthPack& p) {
  return p.type == HEARTH_F32 ? pack_rows<float>(p) : pack_rows<BFloat16>(p);
}

bool pack_generic(const HearthPack& p) {
  return pack_any(p);
}
#if defined(__x86_64__)
HEARTH_AVX2 bool pack_avx2(const HearthPack& p) {
  return pack_any(p);
}
HEARTH_AVX512 bool pack_avx512(const HearthPack& p) {
  return pack_any(p);
}
#endif

}  // namespace

Int4Group round_to_int4(const float* weights) {
  Int4Group group;
  int4_search::round_group(weights, group);
  return group;
}

}  // namespace hearth::kernels

HearthStatus hearth_pack_begin(const HearthMatrix* matrix) {
  using namespace hearth::kernels;
  if (matrix == nullptr || !is_sound(*matrix)) return HEARTH_BAD_ARGUMENT;
  if (!is_tiled(matrix->format)) return HEARTH_OK;
  const std::int64_t tiles = tiles_of(matrix->out_features),
                     groups = groups_of(matrix->in_features);
  const std::int64_t bytes = tile_bytes(matrix->format, groups);
  const int zero = matrix->format == HEARTH_FORMAT_INT8 ? kInt8Zero : kInt4Zero * 17;
  auto* data = static_cast<std::uint8_t*>(const_cast<void*>(matrix->data));
  if (matrix->out_features % kTile != 0) {
    std::memset(data + (tiles - 1) * bytes, zero, static_cast<std::size_t>(bytes));
    const std::int64_t scales =
        static_cast<std::int64_t>(hearth_scale_bytes(matrix->format, kTile, matrix->in_features));
    std::memset(static_cast<char*>(const_cast<void*>(matrix->scales)) + (tiles - 1) * scales, 0,
                static_cast<std::size_t>(scales));
  }
  return HEARTH_OK;  // the padded inputs of a real feature are packed with it
}

HearthStatus hearth_pack(const HearthPack* pack) {
  using namespace hearth::kernels;
  if (const HearthStatus status = check(pack); status != HEARTH_OK) return status;
  bool finite = true;
#if defined(__x86_64__)
  if (cpu::level() >= cpu::Level::avx512)
    finite = pack_avx512(*pack);
  else if (cpu::level() == cpu::Level::avx2)
    finite = pack_avx2(*pack);
  else
#endif
    finite = pack_generic(*pack);
  return finite ? HEARTH_OK : HEARTH_BAD_ARGUMENT;
}
