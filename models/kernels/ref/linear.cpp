// The oracle: one loop per index, nothing clever.

#include "models/kernels/bfloat16.h"
#include "models/kernels/check.h"

namespace hearth::kernels {
namespace {

template <class T>
void linear(const HearthLinear& l) {
  const auto* weight = static_cast<const T*>(l.weight);
  const auto* bias = static_cast<const T*>(l.bias);
  for (std::int64_t r = 0; r < l.rows; ++r) {
    const T* input = static_cast<const T*>(l.input) + r * l.input_stride;
    T* output = static_cast<T*>(l.output) + r * l.output_stride;
    for (std::int64_t o = 0; o < l.out_features; ++o) {
      double sum = bias ? to_float(bias[o]) : 0.0;
      for (std::int64_t i = 0; i < l.in_features; ++i)
        sum += double{to_float(input[i])} * to_float(weight[o * l.in_features + i]);
      store(output + o, static_cast<float>(sum));
    }
  }
}

}  // namespace
}  // namespace hearth::kernels

HearthStatus hearth_linear_ref(const HearthLinear* linear, void*) {
  using namespace hearth::kernels;
  if (const HearthStatus status = check(linear); status != HEARTH_OK) return status;
  if (linear->type == HEARTH_F32) {
    hearth::kernels::linear<float>(*linear);
  } else {
    hearth::kernels::linear<BFloat16>(*linear);
  }
  return HEARTH_OK;
}
