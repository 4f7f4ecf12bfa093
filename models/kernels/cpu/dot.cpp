#include "models/kernels/cpu/dot.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace hearth::kernels {
namespace {

template <class T, int kRows>
void dot_generic(const T* weight, std::int64_t stride, const T* input, std::int64_t count,
                 float* sums) {
  for (int k = 0; k < kRows; ++k) {
    float sum = 0.0f;
    for (std::int64_t i = 0; i < count; ++i)
      sum += to_float(input[i]) * to_float(weight[k * stride + i]);
    sums[k] = sum;
  }
}

// What the vectors left over at the end of a row.
template <class T, int kRows>
inline void add_tail(const T* weight, std::int64_t stride, const T* input, std::int64_t first,
                     std::int64_t count, float* sums) {
  for (int k = 0; k < kRows; ++k)
    for (std::int64_t i = first; i < count; ++i)
      sums[k] += to_float(input[i]) * to_float(weight[k * stride + i]);
}

#if defined(__x86_64__)

#define HEARTH_AVX2 __attribute__((target("avx2,fma")))
#define HEARTH_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl")))
#define HEARTH_AVX512BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

HEARTH_AVX2 inline __m256 load8(const float* p) {
  return _mm256_loadu_ps(p);
}
HEARTH_AVX2 inline __m256 load8(const BFloat16* p) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
HEARTH_AVX2 inline float sum8(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

template <class T, int kRows>
HEARTH_AVX2 void dot_avx2(const T* weight, std::int64_t stride, const T* input, std::int64_t count,
                          float* sums) {
  __m256 acc[kRows];
  for (auto& a : acc) a = _mm256_setzero_ps();
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 x = load8(input + i);
    for (int k = 0; k < kRows; ++k)
      acc[k] = _mm256_fmadd_ps(load8(weight + k * stride + i), x, acc[k]);
  }
  for (int k = 0; k < kRows; ++k) sums[k] = sum8(acc[k]);
  add_tail<T, kRows>(weight, stride, input, i, count, sums);
}

HEARTH_AVX512 inline __m512 load16(const float* p) {
  return _mm512_loadu_ps(p);
}
HEARTH_AVX512 inline __m512 load16(const BFloat16* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

template <class T, int kRows>
HEARTH_AVX512 void dot_avx512(const T* weight, std::int64_t stride, const T* input,
                              std::int64_t count, float* sums) {
  __m512 acc[kRows];
  for (auto& a : acc) a = _mm512_setzero_ps();
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m512 x = load16(input + i);
    for (int k = 0; k < kRows; ++k)
      acc[k] = _mm512_fmadd_ps(load16(weight + k * stride + i), x, acc[k]);
  }
  for (int k = 0; k < kRows; ++k) sums[k] = _mm512_reduce_add_ps(acc[k]);
  add_tail<T, kRows>(weight, stride, input, i, count, sums);
}

HEARTH_AVX512BF16 inline __m512bh load32(const BFloat16* p) {
  return reinterpret_cast<__m512bh>(_mm512_loadu_si512(p));
}

// Multiplies pairs of bfloat16 and adds them to fp32 in one instruction.
template <int kRows>
HEARTH_AVX512BF16 void dot_avx512bf16(const BFloat16* weight, std::int64_t stride,
                                      const BFloat16* input, std::int64_t count, float* sums) {
  __m512 acc[kRows];
  for (auto& a : acc) a = _mm512_setzero_ps();
  std::int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m512bh x = load32(input + i);
    for (int k = 0; k < kRows; ++k) {
      _mm_prefetch(reinterpret_cast<const char*>(weight + k * stride + i + 512), _MM_HINT_T0);
      acc[k] = _mm512_dpbf16_ps(acc[k], load32(weight + k * stride + i), x);
    }
  }
  for (int k = 0; k < kRows; ++k) sums[k] = _mm512_reduce_add_ps(acc[k]);
  add_tail<BFloat16, kRows>(weight, stride, input, i, count, sums);
}

bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl");
}
bool has_avx512bf16() {
  return has_avx512() && __builtin_cpu_supports("avx512bf16");
}

#endif

template <class T>
struct Level {
  const char* name;
  bool present;
  Dots<T> dots;
};

// Slowest first.
template <class T>
const Level<T>* find_level(const char* name) {
  static const Level<T> levels[] = {
    {"generic", true, {dot_generic<T, kDotRows>, dot_generic<T, 1>}},
#if defined(__x86_64__)
    {"avx2", has_avx2(), {dot_avx2<T, kDotRows>, dot_avx2<T, 1>}},
    {"avx512", has_avx512(), {dot_avx512<T, kDotRows>, dot_avx512<T, 1>}},
#endif
  };
  const Level<T>* best = nullptr;
  for (const auto& level : levels) {
    if (!level.present) continue;
    best = &level;
    if (name && std::strcmp(name, level.name) == 0) return best;
  }
  return name ? nullptr : best;
}

const Dots<BFloat16>* paired_dots() {
#if defined(__x86_64__)
  static const Dots<BFloat16> dots{dot_avx512bf16<kDotRows>, dot_avx512bf16<1>};
  if (has_avx512bf16()) return &dots;
#endif
  return nullptr;
}

template <class T>
const Dots<T>& choose(const Dots<T>* (*named)(const char*)) {
  const char* wanted = std::getenv("HEARTH_CPU_LEVEL");
  if (const Dots<T>* dots = wanted ? named(wanted) : nullptr) return *dots;
  if (const Dots<T>* dots = named("avx512bf16")) return *dots;
  return find_level<T>(nullptr)->dots;
}

}  // namespace

const Dots<float>* float_dots(const char* level) {
  const auto* found = find_level<float>(level);
  return found ? &found->dots : nullptr;
}

const Dots<BFloat16>* bfloat16_dots(const char* level) {
  if (std::strcmp(level, "avx512bf16") == 0) return paired_dots();
  const auto* found = find_level<BFloat16>(level);
  return found ? &found->dots : nullptr;
}

const Dots<float>& float_dots() {
  static const Dots<float>& dots = choose<float>(&float_dots);
  return dots;
}

const Dots<BFloat16>& bfloat16_dots() {
  static const Dots<BFloat16>& dots = choose<BFloat16>(&bfloat16_dots);
  return dots;
}

}  // namespace hearth::kernels
