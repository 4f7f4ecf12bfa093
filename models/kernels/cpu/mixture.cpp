// Which experts a row chooses, and the sum of what they say.

#include <algorithm>
#include <array>
#include <cmath>

#include "models/kernels/bfloat16.h"
#include "models/kernels/check_operations.h"
#include "models/kernels/cpu/exponential.h"
#include "models/kernels/cpu/functions.h"
#include "models/kernels/cpu/level.h"
#include "models/kernels/cpu/share.h"

namespace hearth::kernels::cpu {
namespace {

// What an exponential and a place in the order cost, as bytes moved.
constexpr std::int64_t kExpertBytes = 64;

// Bad numbers count as the least, so that the order stays one.
float worth(float logit) {
  return std::isnan(logit) ? -INFINITY : logit;
}

// The `each` largest, in falling order. [each]
void pick(const HearthRoute& call, const float* logits, std::int32_t* chosen) {
  std::int64_t count = 0;
  for (std::int32_t e = 0; e < call.experts; ++e) {
    std::int64_t place = count;
    while (place > 0 && worth(logits[e]) > worth(logits[chosen[place - 1]])) --place;
    if (place == call.each) continue;
    count = std::min(count + 1, call.each);
    std::copy_backward(chosen + place, chosen + count - 1, chosen + count);
    chosen[place] = e;
  }
}

void choose(const HearthRoute& call, std::int64_t row) {
  const float* logits = call.logits + row * call.logits_stride;
  std::int32_t* chosen = call.chosen + row * call.each;
  float* shares = call.shares + row * call.each;
  pick(call, logits, chosen);
  const float largest = logits[chosen[0]];
  float sum = 0.0f;
  bool finite = true;
  for (std::int64_t e = 0; e < call.experts; ++e) {
    sum += exponential(logits[e] - largest);
    finite = finite && std::isfinite(logits[e]);
  }
  float kept = 0.0f;
  for (std::int64_t j = 0; j < call.each; ++j) {
    shares[j] = exponential(logits[chosen[j]] - largest) / sum;
    kept += shares[j];
  }
  for (std::int64_t j = 0; j < call.each; ++j) {
    if (call.normalised != 0) shares[j] /= kept;
    if (!finite) shares[j] = std::nanf("");
  }
}

template <class T>
HEARTH_INLINE void combine_row(const HearthCombine& call, std::int64_t row) {
  constexpr std::int64_t kBlock = 64;
  T* output = static_cast<T*>(call.output) + row * call.output_stride;
  for (std::int64_t first = 0; first < call.width; first += kBlock) {
    const std::int64_t count = std::min(kBlock, call.width - first);
    float sums[kBlock];
    for (std::int64_t i = 0; i < count; ++i) sums[i] = to_float(output[first + i]);
    for (std::int64_t at = row * call.each; at < (row + 1) * call.each; ++at) {
      const float share = call.shares[at];
      if (share == 0.0f) continue;
      const std::int64_t place = call.place == nullptr ? at : call.place[at];
      const T* input = static_cast<const T*>(call.input) + place * call.width + first;
      for (std::int64_t i = 0; i < count; ++i) sums[i] += share * to_float(input[i]);
    }
    for (std::int64_t i = 0; i < count; ++i) store(output + first + i, sums[i]);
  }
}

HEARTH_INLINE void combine_any(const HearthCombine& call, std::int64_t row) {
  call.type == HEARTH_F32 ? combine_row<float>(call, row) : combine_row<BFloat16>(call, row);
}

void combine_generic(const HearthCombine& call, std::int64_t row) {
  combine_any(call, row);
}
#if defined(__x86_64__)
HEARTH_AVX2 void combine_avx2(const HearthCombine& call, std::int64_t row) {
  combine_any(call, row);
}
HEARTH_AVX512 void combine_avx512(const HearthCombine& call, std::int64_t row) {
  combine_any(call, row);
}
#endif

void combine_at_level(const HearthCombine& call, std::int64_t row) {
#if defined(__x86_64__)
  if (level() >= Level::avx512) return combine_avx512(call, row);
  if (level() == Level::avx2) return combine_avx2(call, row);
#endif
  combine_generic(call, row);
}

}  // namespace

HearthStatus route(const HearthRoute* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  share(call->rows, call->experts * kExpertBytes, [&](std::int64_t row) {
    if (call->index == nullptr || call->index[row] >= 0) return choose(*call, row);
    std::fill_n(call->chosen + row * call->each, call->each, -1);
    std::fill_n(call->shares + row * call->each, call->each, 0.0f);
  });
  return HEARTH_OK;
}

HearthStatus combine(const HearthCombine* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  share(call->rows, (call->each + 2) * call->width * type_bytes(call->type),
        [&](std::int64_t row) { combine_at_level(*call, row); });
  return HEARTH_OK;
}

}  // namespace hearth::kernels::cpu
