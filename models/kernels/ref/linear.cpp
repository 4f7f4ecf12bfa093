// The oracle: one loop per index, nothing clever, fp64 in between.

#include <array>
#include <cmath>
#include <vector>

#include "models/kernels/bfloat16.h"
#include "models/kernels/check.h"
#include "models/kernels/formats.h"
#include "models/kernels/ref/functions.h"

namespace hearth::kernels::ref {
namespace {

double number_at(HearthType type, const void* numbers, std::int64_t i) {
  return type == HEARTH_F32 ? static_cast<const float*>(numbers)[i]
                            : to_float(static_cast<const BFloat16*>(numbers)[i]);
}

void store_at(HearthType type, void* numbers, std::int64_t i, double value) {
  if (type == HEARTH_F32)
    store(static_cast<float*>(numbers) + i, static_cast<float>(value));
  else
    store(static_cast<BFloat16*>(numbers) + i, static_cast<float>(value));
}

// What is multiplied with the weights. [in_features]
std::vector<double> input_of(const HearthLinear& l, std::int64_t row) {
  std::vector<double> x(static_cast<std::size_t>(l.weight.in_features));
  double squares = 0.0;
  for (std::size_t k = 0; k < x.size(); ++k) {
    x[k] = number_at(l.type, l.input, row * l.input_stride + static_cast<std::int64_t>(k));
    squares += x[k] * x[k];
  }
  if (l.norm == nullptr) return x;
  const double scale =
      1.0 / std::sqrt(squares / static_cast<double>(x.size()) + double{l.norm_epsilon});
  for (std::size_t k = 0; k < x.size(); ++k) x[k] *= scale * double{l.norm[k]};
  return x;
}

using Sums = std::array<double, HEARTH_MAX_ROWS>;

// Output `feature` of all rows.
Sums products(const HearthLinear& l, const std::vector<std::vector<double>>& inputs,
              std::int64_t feature) {
  std::vector<double> weight(static_cast<std::size_t>(l.weight.in_features));
  for (std::size_t k = 0; k < weight.size(); ++k)
    weight[k] = weight_at(l.weight, feature, static_cast<std::int64_t>(k));
  Sums sums{};
  for (std::size_t row = 0; row < inputs.size(); ++row) {
    sums[row] = l.bias != nullptr ? number_at(l.type, l.bias, feature) : 0.0;
    for (std::size_t k = 0; k < weight.size(); ++k) sums[row] += inputs[row][k] * weight[k];
  }
  return sums;
}

double silu(double x) {
  return x / (1.0 + std::exp(-x));
}

}  // namespace

HearthStatus linear(const HearthLinear* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  const HearthLinear& l = *call;
  std::vector<std::vector<double>> inputs;
  for (std::int64_t row = 0; row < l.rows; ++row) inputs.push_back(input_of(l, row));
  const bool swiglu = l.epilogue == HEARTH_SWIGLU;
  for (std::int64_t i = 0; i < output_width(l); ++i) {
    const Sums y = products(l, inputs, swiglu ? 2 * i : i);
    const Sums up = swiglu ? products(l, inputs, 2 * i + 1) : Sums{};
    for (std::size_t row = 0; row < inputs.size(); ++row) {
      const std::int64_t place = static_cast<std::int64_t>(row) * l.output_stride + i;
      double result = swiglu ? silu(y[row]) * up[row] : y[row];
      if (l.epilogue == HEARTH_ADD) result += number_at(l.output_type, l.output, place);
      store_at(l.output_type, l.output, place, result);
    }
  }
  return HEARTH_OK;
}

}  // namespace hearth::kernels::ref
