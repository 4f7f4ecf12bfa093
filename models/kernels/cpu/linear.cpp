// A linear for few rows on the CPU: threads claim blocks of output rows, so that a core another
// program keeps busy does not hold up the others.

#include <algorithm>
#include <cstdint>

#include "models/kernels/bfloat16.h"
#include "models/kernels/check.h"
#include "models/kernels/cpu/dot.h"

namespace hearth::kernels {
namespace {

// Weights a thread claims at once: large enough to hide the claim, small enough to balance.
constexpr std::int64_t kBlockBytes = 128 * 1024;
// Below this a second thread costs more than it brings.
constexpr std::int64_t kParallelBytes = 256 * 1024;

template <class T>
void finish(const HearthLinear& l, std::int64_t row, std::int64_t first, std::int64_t count,
            const float* sums) {
  const auto* bias = static_cast<const T*>(l.bias);
  T* output = static_cast<T*>(l.output) + row * l.output_stride + first;
  for (std::int64_t k = 0; k < count; ++k)
    store(output + k, sums[k] + (bias ? to_float(bias[first + k]) : 0.0f));
}

// Output features [first, last) of all rows. The weights of kDotRows features stay in the cache
// while the rows pass over them.
template <class T>
void linear_block(const HearthLinear& l, const Dots<T>& dots, std::int64_t first,
                  std::int64_t last) {
  float sums[kDotRows];
  for (std::int64_t o = first; o < last;) {
    const std::int64_t count = o + kDotRows <= last ? kDotRows : 1;
    const auto dot = count == kDotRows ? dots.many : dots.one;
    const T* weight = static_cast<const T*>(l.weight) + o * l.in_features;
    for (std::int64_t r = 0; r < l.rows; ++r) {
      const T* input = static_cast<const T*>(l.input) + r * l.input_stride;
      dot(weight, l.in_features, input, l.in_features, sums);
      finish<T>(l, r, o, count, sums);
    }
    o += count;
  }
}

template <class T>
void linear(const HearthLinear& l, const Dots<T>& dots) {
  const std::int64_t row_bytes = l.in_features * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t block =
      std::max<std::int64_t>(kBlockBytes / row_bytes / kDotRows, 1) * kDotRows;
  const std::int64_t blocks = (l.out_features + block - 1) / block;
#pragma omp parallel for schedule(dynamic) if (row_bytes * l.out_features > kParallelBytes)
  for (std::int64_t b = 0; b < blocks; ++b)
    linear_block(l, dots, b * block, std::min((b + 1) * block, l.out_features));
}

}  // namespace
}  // namespace hearth::kernels

HearthStatus hearth_linear_cpu(const HearthLinear* linear, void*) {
  using namespace hearth::kernels;
  if (const HearthStatus status = check(linear); status != HEARTH_OK) return status;
  if (linear->type == HEARTH_F32) {
    hearth::kernels::linear(*linear, float_dots());
  } else {
    hearth::kernels::linear(*linear, bfloat16_dots());
  }
  return HEARTH_OK;
}
