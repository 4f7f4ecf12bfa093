#include <algorithm>
#include <cmath>
#include <limits>

#include "models/kernels/bfloat16.h"
#include "models/kernels/cache.h"
#include "models/kernels/check_operations.h"
#include "models/kernels/ref/functions.h"

namespace hearth::kernels {
namespace {

// Norm (where there is one) and rotation of one head, in place. [head_dim]
template <class T>
void turn(const HearthRopeWrite& call, std::int64_t row, const float* norm, T* head) {
  const std::int64_t width = call.cache.head_dim;
  const std::int64_t half = width / 2;
  double squares = 0.0;
  for (std::int64_t i = 0; i < width; ++i) squares += double{to_float(head[i])} * to_float(head[i]);
  const double scale =
      1.0 / std::sqrt(squares / static_cast<double>(width) + double{call.norm_epsilon});
  const auto normed = [&](std::int64_t i) {
    return norm == nullptr ? to_float(head[i]) : to_float(head[i]) * scale * norm[i];
  };
  for (std::int64_t i = 0; i < half; ++i) {
    const double cosine = call.cosines[row * half + i];
    const double sine = call.sines[row * half + i];
    const double left = normed(i);
    const double right = normed(i + half);
    store(head + i, static_cast<float>(left * cosine - right * sine));
    store(head + i + half, static_cast<float>(right * cosine + left * sine));
  }
}

template <class T>
void rope_write(const HearthRopeWrite& call, std::int64_t row) {
  const std::int64_t width = call.cache.head_dim;
  T* queries = static_cast<T*>(call.qkv) + row * call.qkv_stride;
  T* keys = queries + call.heads * width;
  T* values = keys + call.cache.kv_heads * width;
  const std::int64_t slot = call.slot[row];
  const std::int64_t token = call.index[row];
  for (std::int64_t head = 0; head < call.heads; ++head)
    turn(call, row, call.q_norm, queries + head * width);
  for (std::int64_t head = 0; head < call.cache.kv_heads; ++head) {
    T* key = token_at<T>(call.cache, slot, token, CachePart::kKeys, head);
    std::copy_n(keys + head * width, width, key);
    turn(call, row, call.k_norm, key);
    std::copy_n(values + head * width, width,
                token_at<T>(call.cache, slot, token, CachePart::kValues, head));
  }
}

// One query head of one row; scores are computed again for each block of channels, so that nothing
// needs to be stored, and the output is the only rounding.
template <class T>
class Attend {
 public:
  Attend(const HearthAttention& call, std::int64_t row, std::int64_t head)
      : call_(call), row_(row), head_(head), tokens_(std::int64_t{call.index[row]} + 1) {}

  void run() {
    for (std::int64_t token = 0; token < tokens_; ++token)
      largest_ = std::max(largest_, score(token));
    for (std::int64_t first = 0; first < call_.cache.head_dim; first += kBlock)
      mix(first, std::min(kBlock, call_.cache.head_dim - first));
  }

 private:
  static constexpr std::int64_t kBlock = 128;

  // Output channels [first, first + count).
  void mix(std::int64_t first, std::int64_t count) {
    double mixed[kBlock] = {};
    double sum = 0.0;
    for (std::int64_t token = 0; token < tokens_; ++token) {
      const double weight = std::exp(score(token) - largest_);
      const T* value = part(token, CachePart::kValues) + first;
      sum += weight;
      for (std::int64_t i = 0; i < count; ++i) mixed[i] += weight * to_float(value[i]);
    }
    T* output = static_cast<T*>(call_.output) + row_ * call_.output_stride +
                head_ * call_.cache.head_dim + first;
    for (std::int64_t i = 0; i < count; ++i)
      store(output + i, tokens_ > 0 ? static_cast<float>(mixed[i] / sum) : 0.0F);
  }

  const T* part(std::int64_t token, CachePart part) const {
    const std::int64_t kv_head = head_ * call_.cache.kv_heads / call_.heads;
    return token_at<T>(call_.cache, call_.slot[row_], token, part, kv_head);
  }

  double score(std::int64_t token) const {
    const std::int64_t width = call_.cache.head_dim;
    const T* query = static_cast<const T*>(call_.query) + row_ * call_.query_stride + head_ * width;
    const T* key = part(token, CachePart::kKeys);
    double sum = 0.0;
    for (std::int64_t i = 0; i < width; ++i) sum += double{to_float(query[i])} * to_float(key[i]);
    return sum * call_.scale;
  }

  const HearthAttention& call_;
  std::int64_t row_, head_, tokens_;
  double largest_ = -std::numeric_limits<double>::infinity();
};

template <class T>
void attention(const HearthAttention& call) {
  for (std::int64_t row = 0; row < call.rows; ++row)
    for (std::int64_t head = 0; head < call.heads; ++head) Attend<T>(call, row, head).run();
}

template <class T>
void gather(const HearthGather& call) {
  const std::int64_t width = call.cache.head_dim;
  for (std::int64_t head = 0; head < call.cache.kv_heads; ++head) {
    for (std::int64_t token = 0; token < call.tokens; ++token) {
      const std::int64_t to = (head * call.tokens + token) * width;
      const auto* key = token_at<T>(call.cache, call.slot, token, CachePart::kKeys, head);
      const auto* value = token_at<T>(call.cache, call.slot, token, CachePart::kValues, head);
      std::copy_n(key, width, static_cast<T*>(call.keys) + to);
      std::copy_n(value, width, static_cast<T*>(call.values) + to);
    }
  }
}

}  // namespace

HearthStatus ref::rope_write(const HearthRopeWrite* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  for (std::int64_t row = 0; row < call->rows; ++row) {
    if (call->index[row] < 0) continue;
    call->type == HEARTH_F32 ? kernels::rope_write<float>(*call, row)
                             : kernels::rope_write<BFloat16>(*call, row);
  }
  return HEARTH_OK;
}

HearthStatus ref::attention(const HearthAttention* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  call->type == HEARTH_F32 ? kernels::attention<float>(*call) : kernels::attention<BFloat16>(*call);
  return HEARTH_OK;
}

HearthStatus ref::gather(const HearthGather* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  call->cache.type == HEARTH_F32 ? kernels::gather<float>(*call) : kernels::gather<BFloat16>(*call);
  return HEARTH_OK;
}

}  // namespace hearth::kernels
