#include <algorithm>
#include <cmath>

#include "models/kernels/bfloat16.h"
#include "models/kernels/check_operations.h"
#include "models/kernels/ref/functions.h"

namespace hearth::kernels {
namespace {

constexpr double kLengthEpsilon = 1e-6;

double sigmoid(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

double softplus(double x) {
  return x > 0.0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}

template <class T>
double length_scale(const T* vector, std::int64_t count) {
  double squares = 0.0;
  for (std::int64_t i = 0; i < count; ++i)
    squares += double{to_float(vector[i])} * to_float(vector[i]);
  return 1.0 / std::sqrt(squares + kLengthEpsilon);
}

// What one value head of one row reads, and its state [key_dim, value_dim].
template <class T>
struct Head {
  const T* query;
  const T* key;
  const T* value;
  double query_scale, key_scale, decay, beta;
  float* state;
};

template <class T>
Head<T> head_of(const HearthDeltaStep& call, std::int64_t row, std::int64_t head) {
  const T* qkv = static_cast<const T*>(call.qkv) + row * call.qkv_stride;
  const std::int64_t key_head = head * call.key_heads / call.value_heads;
  const std::int64_t at = row * call.ab_stride + head;
  Head<T> result{};
  result.query = qkv + key_head * call.key_dim;
  result.key = qkv + (call.key_heads + key_head) * call.key_dim;
  result.value = qkv + 2 * call.key_heads * call.key_dim + head * call.value_dim;
  result.query_scale =
      length_scale(result.query, call.key_dim) / std::sqrt(static_cast<double>(call.key_dim));
  result.key_scale = length_scale(result.key, call.key_dim);
  const double step = to_float(static_cast<const T*>(call.a)[at]) + double{call.dt_bias[head]};
  result.decay = std::exp(-std::exp(double{call.a_log[head]}) * softplus(step));
  result.beta = sigmoid(to_float(static_cast<const T*>(call.b)[at]));
  result.state =
      call.state + (call.slot[row] * call.value_heads + head) * call.key_dim * call.value_dim;
  return result;
}

// Moves one column of the state on and gives the head's output there, before the norm.
template <class T>
double move_column(const HearthDeltaStep& call, const Head<T>& head, std::int64_t column) {
  float* state = head.state + column;
  double remembered = 0.0;
  for (std::int64_t i = 0; i < call.key_dim; ++i)
    remembered += head.decay * state[i * call.value_dim] * (to_float(head.key[i]) * head.key_scale);
  const double change = head.beta * (to_float(head.value[column]) - remembered);
  double output = 0.0;
  for (std::int64_t i = 0; i < call.key_dim; ++i) {
    const double moved =
        head.decay * state[i * call.value_dim] + to_float(head.key[i]) * head.key_scale * change;
    state[i * call.value_dim] = static_cast<float>(moved);
    output += moved * (to_float(head.query[i]) * head.query_scale);
  }
  return output;
}

template <class T>
void delta_step(const HearthDeltaStep& call, std::int64_t row, std::int64_t number) {
  const Head<T> head = head_of<T>(call, row, number);
  const T* z = static_cast<const T*>(call.z) + row * call.z_stride + number * call.value_dim;
  T* output = static_cast<T*>(call.output) + row * call.output_stride + number * call.value_dim;
  // The columns are independent, and the norm needs all of them: the unrounded outputs are read
  // back from the state, S^T q, when their mean square is known.
  double squares = 0.0;
  for (std::int64_t column = 0; column < call.value_dim; ++column) {
    const double value = move_column(call, head, column);
    squares += value * value;
  }
  const double scale =
      1.0 / std::sqrt(squares / static_cast<double>(call.value_dim) + double{call.norm_epsilon});
  for (std::int64_t column = 0; column < call.value_dim; ++column) {
    double value = 0.0;
    for (std::int64_t i = 0; i < call.key_dim; ++i)
      value +=
          head.state[i * call.value_dim + column] * (to_float(head.query[i]) * head.query_scale);
    const double gate = to_float(z[column]);
    store(output + column,
          static_cast<float>(value * scale * call.norm[column] * gate * sigmoid(gate)));
  }
}

}  // namespace

HearthStatus ref::delta_step(const HearthDeltaStep* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  for (std::int64_t row = 0; row < call->rows; ++row) {
    if (call->slot[row] < 0) continue;
    for (std::int64_t head = 0; head < call->value_heads; ++head)
      call->type == HEARTH_F32 ? kernels::delta_step<float>(*call, row, head)
                               : kernels::delta_step<BFloat16>(*call, row, head);
  }
  return HEARTH_OK;
}

}  // namespace hearth::kernels
