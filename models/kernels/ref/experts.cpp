#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "models/kernels/bfloat16.h"
#include "models/kernels/check.h"
#include "models/kernels/check_operations.h"
#include "models/kernels/formats.h"
#include "models/kernels/matrices.h"
#include "models/kernels/ref/functions.h"

namespace hearth::kernels {
namespace {

void choose(const HearthRoute& call, std::int64_t row) {
  const float* logits = call.logits + row * call.logits_stride;
  std::int32_t* chosen = call.chosen + row * call.each;
  float* shares = call.shares + row * call.each;
  const float largest = *std::max_element(logits, logits + call.experts);
  std::vector<double> p(static_cast<std::size_t>(call.experts));
  for (std::size_t e = 0; e < p.size(); ++e) p[e] = std::exp(double{logits[e]} - double{largest});
  double sum = std::accumulate(p.begin(), p.end(), 0.0);
  // Bad numbers count as the least, so that the order stays one.
  const auto worth = [&](std::int32_t e) { return std::isnan(logits[e]) ? -INFINITY : logits[e]; };
  std::vector<std::int32_t> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return worth(a) != worth(b) ? worth(a) > worth(b) : a < b;
  });
  double kept = 0.0;
  for (std::int64_t j = 0; j < call.each; ++j)
    kept += p[static_cast<std::size_t>(order[static_cast<std::size_t>(j)])];
  const bool finite = std::isfinite(sum) && std::all_of(logits, logits + call.experts,
                                                        [](float x) { return std::isfinite(x); });
  for (std::int64_t j = 0; j < call.each; ++j) {
    chosen[j] = order[static_cast<std::size_t>(j)];
    const double share =
        p[static_cast<std::size_t>(chosen[j])] / (call.normalised != 0 ? kept : sum);
    shares[j] = finite ? static_cast<float>(share) : std::nanf("");
  }
}

// One chosen expert of one row, as a linear of one row.
HearthLinear linear_of(const HearthExperts& call, std::int64_t row, std::int64_t j) {
  const bool swiglu = call.epilogue == HEARTH_SWIGLU;
  const std::int64_t place = row * call.each + j;
  const std::int64_t in = call.weight.first.in_features;
  const std::int64_t input = swiglu ? row * call.input_stride : place * in;
  const auto bytes = static_cast<std::int64_t>(item_bytes(call.type));
  return {.weight = matrix_at(call.weight, call.chosen[place]),
          .type = call.type,
          .output_type = call.type,
          .epilogue = call.epilogue,
          .rows = 1,
          .input = static_cast<const char*>(call.input) + input * bytes,
          .input_stride = in,
          .norm = call.norm,
          .norm_epsilon = call.norm_epsilon,
          .bias = nullptr,
          .output = static_cast<char*>(call.output) + place * output_width(call) * bytes,
          .output_stride = output_width(call)};
}

template <class T>
void combine(const HearthCombine& call) {
  for (std::int64_t row = 0; row < call.rows; ++row) {
    for (std::int64_t i = 0; i < call.width; ++i) {
      T* output = static_cast<T*>(call.output) + row * call.output_stride + i;
      double sum = to_float(*output);
      for (std::int64_t at = row * call.each; at < (row + 1) * call.each; ++at) {
        if (call.shares[at] == 0.0F) continue;
        const std::int64_t place = call.place == nullptr ? at : call.place[at];
        sum += double{call.shares[at]} *
               to_float(static_cast<const T*>(call.input)[place * call.width + i]);
      }
      store(output, static_cast<float>(sum));
    }
  }
}

}  // namespace

HearthStatus ref::route(const HearthRoute* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  for (std::int64_t row = 0; row < call->rows; ++row) {
    if (call->index == nullptr || call->index[row] >= 0) {
      choose(*call, row);
    } else {
      std::fill_n(call->chosen + row * call->each, call->each, -1);
      std::fill_n(call->shares + row * call->each, call->each, 0.0F);
    }
  }
  return HEARTH_OK;
}

HearthStatus ref::experts(const HearthExperts* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  for (std::int64_t row = 0; row < call->rows; ++row) {
    for (std::int64_t j = 0; j < call->each; ++j) {
      if (!is_one_of(call->weight, call->chosen[row * call->each + j])) continue;
      const HearthLinear one = linear_of(*call, row, j);
      if (const HearthStatus status = ref::linear(&one, stream); status != HEARTH_OK) return status;
    }
  }
  return HEARTH_OK;
}

HearthStatus ref::combine(const HearthCombine* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  call->type == HEARTH_F32 ? kernels::combine<float>(*call) : kernels::combine<BFloat16>(*call);
  return HEARTH_OK;
}

}  // namespace hearth::kernels
