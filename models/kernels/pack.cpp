#include "models/kernels/pack.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "models/kernels/bfloat16.h"
#include "models/kernels/check.h"
#include "models/kernels/cpu/level.h"

namespace hearth::kernels {
namespace {

// 1.5 * 2^23: adding it leaves an integer's bits at the bottom, rounded to nearest even.
constexpr float kRounder = 12582912.0f;
constexpr std::uint32_t kRounderBits = 0x4b400000;

HEARTH_INLINE float bits_to_float(std::uint32_t bits) {
  return std::bit_cast<float>(bits);
}
HEARTH_INLINE std::uint32_t bits_of(float value) {
  return std::bit_cast<std::uint32_t>(value);
}
HEARTH_INLINE float plain(float value) {
  return value;
}
HEARTH_INLINE float plain(BFloat16 value) {
  return bits_to_float(std::uint32_t{value.bits} << 16);
}

// To nearest even for |value| < 2^22.
HEARTH_INLINE std::int32_t round_to_int(float value) {
  return static_cast<std::int32_t>(bits_of(value + kRounder) - kRounderBits);
}

// The bits of the largest |value|: of numbers that are not finite, too, and those are the largest.
template <class T>
HEARTH_INLINE std::uint32_t largest_bits(const T* row, std::int64_t count) {
  std::uint32_t largest = 0;
  for (std::int64_t k = 0; k < count; ++k)
    largest = std::max(largest, bits_of(plain(row[k])) & 0x7fffffffU);
  return largest;
}
constexpr std::uint32_t kInfinityBits = 0x7f800000;

// f16 as stored, without a library call: to nearest even, magnitudes from 65520 become infinite.
HEARTH_INLINE std::uint16_t store_f16(float value) {
  const std::uint32_t sign = bits_of(value) >> 16 & 0x8000, magnitude = bits_of(value) & 0x7fffffff;
  if (magnitude >= 0x477ff000) return static_cast<std::uint16_t>(sign | 0x7c00);
  if (magnitude < 0x38800000) {  // subnormal: steps of 2^-24
    const float steps = bits_to_float(magnitude) * 16777216.0f;
    return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(round_to_int(steps)));
  }
  const std::uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<std::uint16_t>(sign | ((rounded >> 13) - (112U << 10)));
}
HEARTH_INLINE float load_f16(std::uint16_t bits) {
  // Exponents move by 112; multiplying does it for subnormals as well.
  const float magnitude = bits_to_float((bits & 0x7fffU) << 13) * 0x1p112f;
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

HEARTH_INLINE std::uint8_t store_e4m3(float value) {
  const std::uint32_t sign = bits_of(value) >> 24 & 0x80, magnitude = bits_of(value) & 0x7fffffff;
  const std::uint32_t rounded = magnitude + 0x7ffff + (magnitude >> 20 & 1);
  const std::uint32_t normal = std::min((rounded >> 20) - (120U << 3), 0x7eU);
  const auto small = static_cast<std::uint32_t>(round_to_int(bits_to_float(magnitude) * 512.0f));
  return static_cast<std::uint8_t>(sign | (magnitude < 0x3c800000 ? small : normal));
}

// --- int4 ---------------------------------------------------------------------------------------

constexpr float kCandidates[] = {7.0f, 7.5f, 8.0f, 8.5f, 9.25f, 10.0f, 11.0f, 12.0f};

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

// --- rows ---------------------------------------------------------------------------------------

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
    for (int k = 0; k < kGroup; ++k) group[k] = plain(row[first + k]);
  } else {
    for (int k = 0; k < kGroup; ++k) group[k] = k < count ? plain(row[first + k]) : 0.0f;
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
    round_group(weights, group);
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
  for (std::int64_t k = 0; k < m.in_features; ++k) target[k] = store_e4m3(plain(row[k]) * inverse);
  static_cast<float*>(const_cast<void*>(m.scales))[feature] = scale;
  return true;
}

template <class T>
HEARTH_INLINE bool convert(const HearthMatrix& m, const T* row, std::int64_t feature) {
  void* target = const_cast<void*>(m.data);
  const std::int64_t first = feature * m.in_features;
  for (std::int64_t k = 0; k < m.in_features; ++k) {
    if (m.format == HEARTH_FORMAT_F32)
      store(static_cast<float*>(target) + first + k, plain(row[k]));
    else
      store(static_cast<BFloat16*>(target) + first + k, plain(row[k]));
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
  round_group(weights, group);
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
