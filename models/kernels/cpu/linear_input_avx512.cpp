// The inputs of a linear with 512-bit vectors: the same numbers as the plain loops give, but for
// the order in which a norm's squares are added.

#if defined(__x86_64__)

#include <algorithm>
#include <cmath>

#include <immintrin.h>

#include "models/kernels/cpu/level.h"
#include "models/kernels/cpu/linear_target.h"

namespace hearth::kernels::cpu {
namespace {

#define HEARTH_TARGET HEARTH_AVX512 inline __attribute__((always_inline))

constexpr int kLanes = 16, kVectors = kGroup / kLanes;

struct Group {
  __m512 x[kVectors];
};

HEARTH_TARGET __mmask16 lanes_of(std::int64_t count) {
  if (count >= kLanes) return 0xffff;
  return count <= 0 ? __mmask16{0} : static_cast<__mmask16>((1U << count) - 1);
}

HEARTH_TARGET __m512 load(const float* p, __mmask16 lanes) {
  return _mm512_maskz_loadu_ps(lanes, p);
}
HEARTH_TARGET __m512 load(const BFloat16* p, __mmask16 lanes) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, p)), 16));
}

// 1 / sqrt(mean(x²) + epsilon)
template <class T>
HEARTH_TARGET float norm_factor(const T* row, std::int64_t count, float epsilon) {
  __m512 sums[kVectors];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  for (std::int64_t k = 0; k < count; k += kGroup)
    for (int v = 0; v < kVectors; ++v) {
      const __m512 x = load(row + k + v * kLanes, lanes_of(count - k - v * kLanes));
      sums[v] = _mm512_fmadd_ps(x, x, sums[v]);
    }
  const __m512 sum =
      _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
  return 1.0F / std::sqrt(_mm512_reduce_add_ps(sum) / static_cast<float>(count) + epsilon);
}

template <class T>
HEARTH_TARGET Group load_group(const HearthLinear& l, const T* row, float factor,
                               std::int64_t first) {
  Group group;
  for (int v = 0; v < kVectors; ++v) {
    const std::int64_t k = first + v * kLanes;
    const __mmask16 lanes = lanes_of(l.weight.in_features - k);
    group.x[v] = load(row + k, lanes);
    if (l.norm != nullptr)
      group.x[v] =
          _mm512_mul_ps(_mm512_mul_ps(group.x[v], _mm512_set1_ps(factor)), load(l.norm + k, lanes));
  }
  return group;
}

// To the nearest bf16, in the high half of each lane; ties to even, NaN stays one.
HEARTH_TARGET __m512i rounded(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i sum = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  return _mm512_mask_or_epi32(sum, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), bits,
                              _mm512_set1_epi32(0x400000));
}

HEARTH_TARGET void store_floats(const Group& group, bool rounds, float* to) {
  const __m512i high = _mm512_set1_epi32(-65536);
  for (int v = 0; v < kVectors; ++v) {
    const __m512 short_one = _mm512_castsi512_ps(_mm512_and_si512(rounded(group.x[v]), high));
    _mm512_storeu_ps(to + v * kLanes, rounds ? short_one : group.x[v]);
  }
}

HEARTH_TARGET void store_halves(const Group& group, BFloat16* to) {
  for (int v = 0; v < kVectors; ++v)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + v * kLanes),
                        _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded(group.x[v]), 16)));
}

// The scale that takes the largest magnitude to 127; not finite where an input is not.
HEARTH_TARGET float scale_of(const Group& group) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i largest = _mm512_setzero_si512();
  for (const __m512& x : group.x)
    largest = _mm512_max_epu32(largest, _mm512_and_si512(_mm512_castps_si512(x), magnitude));
  return _mm_cvtss_f32(_mm_castsi128_ps(
             _mm_cvtsi32_si128(static_cast<int>(_mm512_reduce_max_epu32(largest))))) /
         127.0F;
}

HEARTH_TARGET void round_group(const Group& group, const Target& to, std::int64_t index,
                               std::int64_t row, std::int32_t offset) {
  const float scale = scale_of(group);
  const __m512 inverse = _mm512_set1_ps(scale > 0.0F ? 1.0F / scale : 0.0F);
  const __m512 most = _mm512_set1_ps(127.0F), least = _mm512_set1_ps(-127.0F);
  alignas(64) std::int32_t quads[kQuadsOfGroup];
  __m512i sum = _mm512_setzero_si512();
  for (int v = 0; v < kVectors; ++v) {
    const __m512 level = _mm512_mul_ps(group.x[v], inverse);
    const __m512i whole = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(level, least), most));
    sum = _mm512_add_epi32(sum, whole);
    _mm_store_si128(reinterpret_cast<__m128i*>(quads + 4 * v), _mm512_cvtepi32_epi8(whole));
  }
  std::int32_t* target = to.quads + index * kQuadsOfGroup * to.stride + row * to.row_quads;
  if (to.next_quads == 1) {
    _mm512_storeu_si512(target, _mm512_load_si512(quads));
  } else {
    for (int q = 0; q < kQuadsOfGroup; ++q) target[q * to.next_quads] = quads[q];
  }
  to.scales[index * to.stride + row] = scale;
  to.offset_sums[index * to.stride + row] = -offset * _mm512_reduce_add_epi32(sum);
}

template <class T>
HEARTH_TARGET void prepare_row(const HearthLinear& l, const Target& to, std::int64_t row) {
  const T* source = static_cast<const T*>(l.input) + row * l.input_stride;
  const float factor =
      l.norm != nullptr ? norm_factor(source, l.weight.in_features, l.norm_epsilon) : 1.0F;
  const std::int32_t offset = l.weight.format == HEARTH_FORMAT_INT8 ? kInt8Zero : kInt4Zero;
  for (std::int64_t g = 0; g < groups_of(l.weight.in_features); ++g) {
    const Group group = load_group(l, source, factor, g * kGroup);
    const std::int64_t place = row * to.stride + g * kGroup;
    if (to.quads != nullptr) {
      round_group(group, to, g, row, offset);
    } else if (to.halves != nullptr) {
      store_halves(group, to.halves + place);
    } else {
      store_floats(group, to.rounds, to.floats + place);
    }
  }
}

}  // namespace

HEARTH_AVX512 void prepare_row_avx512(const HearthLinear& l, const Target& to, std::int64_t row) {
  l.type == HEARTH_F32 ? prepare_row<float>(l, to, row) : prepare_row<BFloat16>(l, to, row);
}

}  // namespace hearth::kernels::cpu

#endif
