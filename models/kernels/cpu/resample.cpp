// One axis of a picture resampled: sums of whole rows of bytes, 32 at a time. Pixels next to each
// other are turned first, ten lines at a time, so that they become such rows.

#include <algorithm>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "models/kernels/check_operations.h"
#include "models/kernels/cpu/functions.h"
#include "models/kernels/cpu/level.h"

namespace hearth::kernels::cpu {
namespace {

constexpr std::int64_t kLanes = 32;
constexpr std::int64_t kPixelBytes = 3;
constexpr std::int64_t kLines = 10;  // of three bytes fill 30 lanes

// One output's weights, over rows of bytes that lie `stride` apart.
struct Weighted {
  const std::int16_t* weights;
  std::int64_t rows;
  int precision;
  std::int64_t stride;
};

std::uint8_t sum_one(const Weighted& w, const std::uint8_t* source) {
  std::int32_t sum = 1 << (w.precision - 1);
  for (std::int64_t row = 0; row < w.rows; ++row) sum += w.weights[row] * source[row * w.stride];
  return static_cast<std::uint8_t>(std::clamp(sum >> w.precision, 0, 255));
}

// The first `vectors` times kLanes bytes of a row.
using Sum = void (*)(const Weighted&, const std::uint8_t* source, std::int64_t vectors,
                     std::uint8_t* out);

void sum_generic(const Weighted& w, const std::uint8_t* __restrict source, std::int64_t vectors,
                 std::uint8_t* __restrict out) {
  for (; vectors > 0; --vectors, source += kLanes, out += kLanes) {
    std::int32_t sums[kLanes];
    for (auto& sum : sums) sum = 1 << (w.precision - 1);
    for (std::int64_t row = 0; row < w.rows; ++row) {
      const std::uint8_t* __restrict values = source + row * w.stride;
      for (int i = 0; i < kLanes; ++i)
        sums[i] += static_cast<std::int32_t>(static_cast<std::int16_t>(values[i])) * w.weights[row];
    }
    for (int i = 0; i < kLanes; ++i)
      out[i] = static_cast<std::uint8_t>(std::clamp(sums[i] >> w.precision, 0, 255));
  }
}

#if defined(__x86_64__)
HEARTH_AVX2 inline __m256i load(const std::uint8_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

// Two rows at a time: their bytes interleaved are the pairs that one multiply-and-add takes. The
// interleaving stays within halves of the register, and the packing at the end undoes it.
HEARTH_AVX2 void sum_avx2(const Weighted& w, const std::uint8_t* source, std::int64_t vectors,
                          std::uint8_t* out) {
  const __m256i zero = _mm256_setzero_si256();
  const __m128i shift = _mm_cvtsi32_si128(w.precision);
  for (; vectors > 0; --vectors, source += kLanes, out += kLanes) {
    __m256i sums[4];
    for (auto& sum : sums) sum = _mm256_set1_epi32(1 << (w.precision - 1));
    for (std::int64_t row = 0; row < w.rows; row += 2) {
      const bool pair = row + 1 < w.rows;
      const std::uint32_t low = static_cast<std::uint16_t>(w.weights[row]);
      const std::uint32_t high = pair ? static_cast<std::uint16_t>(w.weights[row + 1]) : 0;
      const __m256i weights = _mm256_set1_epi32(static_cast<int>(high << 16 | low));
      const __m256i first = load(source + row * w.stride);
      const __m256i second = pair ? load(source + (row + 1) * w.stride) : zero;
      const __m256i begin = _mm256_unpacklo_epi8(first, second);
      const __m256i end = _mm256_unpackhi_epi8(first, second);
      const __m256i pairs[4] = {_mm256_unpacklo_epi8(begin, zero),
                                _mm256_unpackhi_epi8(begin, zero), _mm256_unpacklo_epi8(end, zero),
                                _mm256_unpackhi_epi8(end, zero)};
      for (int i = 0; i < 4; ++i)
        sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(pairs[i], weights));
    }
    for (auto& sum : sums) sum = _mm256_sra_epi32(sum, shift);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                        _mm256_packus_epi16(_mm256_packs_epi32(sums[0], sums[1]),
                                            _mm256_packs_epi32(sums[2], sums[3])));
  }
}
#endif

Sum sum_function() {
#if defined(__x86_64__)
  if (level() >= Level::avx2) return &sum_avx2;
#endif
  return &sum_generic;
}

Weighted weighted(const HearthResample& c, std::int64_t output, std::int64_t stride) {
  return {c.weights + output * c.most, c.count[output], c.precision, stride};
}

void resample_rows(const HearthResample& c, Sum sum) {
  const std::int64_t vectors = c.inner / kLanes;
  for (std::int64_t o = 0; o < c.outer; ++o)
    for (std::int64_t i = 0; i < c.outputs; ++i) {
      const Weighted w = weighted(c, i, c.inner);
      const std::uint8_t* source = c.source + (o * c.inputs + c.first[i]) * c.inner;
      std::uint8_t* out = c.target + (o * c.outputs + i) * c.inner;
      sum(w, source, vectors, out);
      for (std::int64_t k = vectors * kLanes; k < c.inner; ++k) out[k] = sum_one(w, source + k);
    }
}

// Puts the pixels of some lines under each other: [pixels, kLines, 3] in kLanes bytes each. Four
// bytes are moved for three, but for a line's last pixel: the fourth is overwritten or never read.
void turn(const std::uint8_t* source, std::int64_t lines, std::int64_t pixels,
          std::uint8_t* turned) {
  const std::int64_t stride = pixels * kPixelBytes;
  for (std::int64_t x = 0; x + 1 < pixels; ++x)
    for (std::int64_t line = 0; line < lines; ++line)
      std::memcpy(turned + x * kLanes + line * kPixelBytes,
                  source + line * stride + x * kPixelBytes, kPixelBytes + 1);
  for (std::int64_t line = 0; line < lines; ++line)
    std::memcpy(turned + (pixels - 1) * kLanes + line * kPixelBytes,
                source + (line + 1) * stride - kPixelBytes, kPixelBytes);
}

void turn_back(const std::uint8_t* turned, std::int64_t lines, std::int64_t pixels,
               std::uint8_t* target) {
  const std::int64_t stride = pixels * kPixelBytes;
  for (std::int64_t x = 0; x + 1 < pixels; ++x)
    for (std::int64_t line = 0; line < lines; ++line)
      std::memcpy(target + line * stride + x * kPixelBytes,
                  turned + x * kLanes + line * kPixelBytes, kPixelBytes + 1);
  for (std::int64_t line = 0; line < lines; ++line)
    std::memcpy(target + (line + 1) * stride - kPixelBytes,
                turned + (pixels - 1) * kLanes + line * kPixelBytes, kPixelBytes);
}

// Keeps its memory: a large picture comes with others of its size.
std::uint8_t* turned_memory(std::int64_t pixels) {
  thread_local std::vector<std::uint8_t> memory;
  const auto bytes = static_cast<std::size_t>(pixels * kLanes);
  if (memory.size() < bytes) memory.resize(bytes);
  return memory.data();
}

void resample_pixels(const HearthResample& c, Sum sum) {
  std::uint8_t* turned = turned_memory(c.inputs + c.outputs);
  std::uint8_t* result = turned + c.inputs * kLanes;
  for (std::int64_t o = 0; o < c.outer; o += kLines) {
    const std::int64_t lines = std::min(kLines, c.outer - o);
    turn(c.source + o * c.inputs * kPixelBytes, lines, c.inputs, turned);
    for (std::int64_t i = 0; i < c.outputs; ++i)
      sum(weighted(c, i, kLanes), turned + c.first[i] * kLanes, 1, result + i * kLanes);
    turn_back(result, lines, c.outputs, c.target + o * c.outputs * kPixelBytes);
  }
}

}  // namespace

HearthStatus resample(const HearthResample* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  if (call->inner == kPixelBytes)
    resample_pixels(*call, sum_function());
  else
    resample_rows(*call, sum_function());
  return HEARTH_OK;
}

}  // namespace hearth::kernels::cpu
