#include "models/kernels/cpu/linear_input.h"

#include <cmath>
#include <cstring>

#include "models/kernels/cpu/level.h"
#include "models/kernels/cpu/linear_target.h"
#include "models/kernels/cpu/team.h"
#include "models/kernels/rounding.h"

namespace hearth::kernels::cpu {
namespace {

// Numbers below which the other threads are not asked to help.
constexpr std::int64_t kAlone = 16 * 1024;

// 1 / sqrt(mean(x²) + epsilon); the order of the sum is fixed.
template <class T>
HEARTH_INLINE float norm_factor(const T* row, std::int64_t count, float epsilon) {
  constexpr int kLanes = 32;
  float sums[kLanes] = {};
  std::int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes)
    for (int i = 0; i < kLanes; ++i) sums[i] += to_float(row[k + i]) * to_float(row[k + i]);
  for (int i = 0; k < count; ++k, ++i) sums[i] += to_float(row[k]) * to_float(row[k]);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  return 1.0f / std::sqrt(sums[0] / static_cast<float>(count) + epsilon);
}

// The group's inputs times norm, zeros behind the last.
template <class T>
HEARTH_INLINE void load_group(const HearthLinear& l, const T* row, float factor, std::int64_t first,
                              float* group) {
  const std::int64_t count = std::min(kGroup, l.weight.in_features - first);
  if (count < kGroup) std::fill_n(group, kGroup, 0.0f);
  if (l.norm != nullptr) {
    for (std::int64_t k = 0; k < count; ++k)
      group[k] = to_float(row[first + k]) * factor * l.norm[first + k];
  } else {
    for (std::int64_t k = 0; k < count; ++k) group[k] = to_float(row[first + k]);
  }
}

// To signed bytes with one scale. Where an input is not finite the scale is not either, so that the
// outputs tell.
HEARTH_INLINE void round_group(const float* group, const Target& to, std::int64_t index,
                               std::int64_t row, std::int32_t offset) {
  std::uint32_t largest = 0;
  for (int k = 0; k < kGroup; ++k) largest = std::max(largest, bits_of(group[k]) & 0x7fffffffU);
  const float scale = bits_to_float(largest) / 127.0f;
  const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  alignas(64) std::int8_t bytes[kGroup];
  std::int32_t sum = 0;
  for (int k = 0; k < kGroup; ++k) {
    const float level = std::min(std::max(group[k] * inverse, -127.0f), 127.0f);
    bytes[k] = static_cast<std::int8_t>(round_to_int(level));
    sum += bytes[k];
  }
  std::int32_t* quads = to.quads + index * kQuadsOfGroup * to.stride + row * to.row_quads;
  for (int q = 0; q < kQuadsOfGroup; ++q) std::memcpy(quads + q * to.next_quads, bytes + 4 * q, 4);
  to.scales[index * to.stride + row] = scale;
  to.offset_sums[index * to.stride + row] = -offset * sum;
}

template <class T>
HEARTH_INLINE void prepare_row(const HearthLinear& l, const Target& to, std::int64_t row) {
  const T* source = static_cast<const T*>(l.input) + row * l.input_stride;
  const float factor =
      l.norm != nullptr ? norm_factor(source, l.weight.in_features, l.norm_epsilon) : 1.0f;
  const std::int32_t offset = l.weight.format == HEARTH_FORMAT_INT8 ? kInt8Zero : kInt4Zero;
  for (std::int64_t g = 0; g < groups_of(l.weight.in_features); ++g) {
    alignas(64) float group[kGroup];
    load_group(l, source, factor, g * kGroup, group);
    const std::int64_t place = row * to.stride + g * kGroup;
    if (to.quads != nullptr) {
      round_group(group, to, g, row, offset);
    } else if (to.halves != nullptr) {
      for (int k = 0; k < kGroup; ++k) to.halves[place + k] = to_bfloat16(group[k]);
    } else if (to.rounds) {
      for (int k = 0; k < kGroup; ++k) to.floats[place + k] = to_float(to_bfloat16(group[k]));
    } else {
      for (int k = 0; k < kGroup; ++k) to.floats[place + k] = group[k];
    }
  }
}

HEARTH_INLINE void prepare_any(const HearthLinear& l, const Target& to, std::int64_t row) {
  l.type == HEARTH_F32 ? prepare_row<float>(l, to, row) : prepare_row<BFloat16>(l, to, row);
}

void prepare_generic(const HearthLinear& l, const Target& to, std::int64_t row) {
  prepare_any(l, to, row);
}
#if defined(__x86_64__)
HEARTH_AVX2 void prepare_avx2(const HearthLinear& l, const Target& to, std::int64_t row) {
  prepare_any(l, to, row);
}
#endif

void prepare_at_level(const HearthLinear& l, const Target& to, std::int64_t row) {
#if defined(__x86_64__)
  if (level() >= Level::avx512) return prepare_row_avx512(l, to, row);
  if (level() == Level::avx2) return prepare_avx2(l, to, row);
#endif
  prepare_generic(l, to, row);
}

// Rows that the inner loops of tiled formats are made for.
std::int64_t padded(std::int64_t rows) {
  for (const std::int64_t enough : {1, 2, 4, 8, 12})
    if (rows <= enough) return enough;
  return HEARTH_MAX_ROWS;
}

// Where the prepared input goes, and whether the team helps.
struct Place {
  void* memory;
  bool alone;
};

// One block of memory: quads, scales, offset sums.
Target tiled_target(LinearJob& job, bool row_by_row, void* block) {
  const std::int64_t places = job.groups * job.padded_rows;
  auto* memory = static_cast<char*>(block);
  Target to;
  to.stride = job.padded_rows;
  to.row_quads = row_by_row ? kQuadsOfGroup : 1;
  to.next_quads = row_by_row ? 1 : job.padded_rows;
  to.quads = reinterpret_cast<std::int32_t*>(memory);
  to.scales = reinterpret_cast<float*>(memory + places * kGroup);
  to.offset_sums = reinterpret_cast<std::int32_t*>(memory + places * (kGroup + 4));
  if (job.rows < job.padded_rows)
    std::memset(memory, 0, static_cast<std::size_t>(places * (kGroup + 8)));
  job.quads = to.quads;
  job.input_scales = to.scales;
  job.offset_sums = to.offset_sums;
  return to;
}

// Floats or halves, row by row.
Target row_target(const LinearJob& job, bool floats, void* memory) {
  Target to;
  to.stride = job.groups * kGroup;
  to.rounds = job.call->weight.format == HEARTH_FORMAT_BF16;
  if (floats)
    to.floats = static_cast<float*>(memory);
  else
    to.halves = static_cast<BFloat16*>(memory);
  return to;
}

void prepare_rows(const HearthLinear& l, const Target& to, bool alone) {
  const auto compute = [&](Chunk chunk) {
    for (std::int64_t row = chunk.first; row < chunk.last; ++row) prepare_at_level(l, to, row);
  };
  if (alone) return compute({0, l.rows, 0});
  for_chunks(l.rows, l.rows * l.weight.in_features <= kAlone ? l.rows : 1, compute);
}

#if defined(__x86_64__)
// Rows that are bf16 already are paired where they lie.
void prepare_pairs(LinearJob& job, const Place& place) {
  const HearthLinear& l = *job.call;
  job.input_stride = job.groups * kGroup;
  const auto numbers = static_cast<std::size_t>(job.rows * job.input_stride);
  auto* pairs = static_cast<BFloat16*>(place.memory);
  job.input = pairs;
  if (l.norm == nullptr && l.type == HEARTH_BF16)
    return pair_rows(static_cast<const BFloat16*>(l.input), l.input_stride, l, pairs);
  const Target to = row_target(job, false, pairs + numbers);
  prepare_rows(l, to, place.alone);
  pair_rows(to.halves, to.stride, l, pairs);
}
#endif

// Whether the inner loops read the input where it lies.
bool reads_in_place(const HearthLinear& l, Layout layout) {
  return l.norm == nullptr && layout != Layout::kPairs &&
         (layout == Layout::kHalves || l.weight.format == HEARTH_FORMAT_F32);
}

std::int64_t padded_rows(const HearthLinear& l, Layout layout) {
  if (layout == Layout::kQuads) return padded(l.rows);
  return layout == Layout::kRowsOfBytes ? l.rows : 0;
}

LinearJob prepare_in(const HearthLinear& l, Layout layout, const Place& place) {
  LinearJob job{&l, l.rows, l.input, l.input_stride, groups_of(l.weight.in_features), 0,
                {}, {},     {}};
  if (reads_in_place(l, layout)) return job;
#if defined(__x86_64__)
  if (layout == Layout::kPairs) {
    prepare_pairs(job, place);
    return job;
  }
#endif
  job.padded_rows = padded_rows(l, layout);
  if (job.padded_rows > 0) {
    prepare_rows(l, tiled_target(job, layout == Layout::kRowsOfBytes, place.memory), place.alone);
    return job;
  }
  job.input_stride = job.groups * kGroup;
  job.input = place.memory;
  prepare_rows(l, row_target(job, layout == Layout::kFloats, place.memory), place.alone);
  return job;
}

}  // namespace

std::size_t prepared_bytes(const HearthLinear& l, Layout layout) {
  if (reads_in_place(l, layout)) return 0;
  const std::int64_t groups = groups_of(l.weight.in_features);
  if (const std::int64_t rows = padded_rows(l, layout); rows > 0)
    return static_cast<std::size_t>(groups * rows * (kGroup + 8));
  const auto numbers = static_cast<std::size_t>(l.rows * groups * kGroup);
  return numbers * (layout == Layout::kHalves ? sizeof(BFloat16) : 2 * sizeof(BFloat16));
}

LinearJob prepare(const HearthLinear& l, Layout layout) {
  return prepare_in(l, layout, {scratch(kSharedScratch, prepared_bytes(l, layout)), false});
}

LinearJob prepare_alone(const HearthLinear& l, Layout layout, void* memory) {
  return prepare_in(l, layout, {memory, true});
}

}  // namespace hearth::kernels::cpu
