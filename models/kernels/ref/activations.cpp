#include <cmath>

#include "models/kernels/bfloat16.h"
#include "models/kernels/check_operations.h"
#include "models/kernels/ref/functions.h"

namespace hearth::kernels {
namespace {

double silu(double x) {
  return x / (1.0 + std::exp(-x));
}

template <class T>
void embed(const HearthEmbed& call) {
  for (std::int64_t row = 0; row < call.rows; ++row) {
    const std::int64_t token = call.token[row];
    const bool known = token >= 0 && token < call.vocabulary;
    const T* from = static_cast<const T*>(call.table) + (known ? token : 0) * call.width;
    T* to = static_cast<T*>(call.output) + row * call.output_stride;
    for (std::int64_t i = 0; i < call.width; ++i) to[i] = known ? from[i] : T{};
  }
}

template <class T>
void rms_norm(const HearthRmsNorm& call) {
  for (std::int64_t row = 0; row < call.rows; ++row) {
    T* input = static_cast<T*>(call.input) + row * call.input_stride;
    T* output = static_cast<T*>(call.output) + row * call.output_stride;
    if (const T* residual = static_cast<const T*>(call.residual))
      for (std::int64_t i = 0; i < call.width; ++i)
        store(input + i, to_float(input[i]) + to_float(residual[row * call.residual_stride + i]));
    double squares = 0.0;
    for (std::int64_t i = 0; i < call.width; ++i)
      squares += double{to_float(input[i])} * to_float(input[i]);
    const double scale =
        1.0 / std::sqrt(squares / static_cast<double>(call.width) + double{call.epsilon});
    for (std::int64_t i = 0; i < call.width; ++i)
      store(output + i, static_cast<float>(to_float(input[i]) * scale * call.weight[i]));
  }
}

template <class T>
void swiglu(const HearthSwiGlu& call) {
  for (std::int64_t row = 0; row < call.rows; ++row) {
    const T* input = static_cast<const T*>(call.input) + row * call.input_stride;
    T* output = static_cast<T*>(call.output) + row * call.output_stride;
    for (std::int64_t i = 0; i < call.width; ++i)
      store(output + i,
            static_cast<float>(silu(to_float(input[2 * i])) * to_float(input[2 * i + 1])));
  }
}

template <class T, class G>
void gate(const HearthGate& call) {
  for (std::int64_t row = 0; row < call.rows; ++row) {
    const G* gate = static_cast<const G*>(call.gate) + row * call.gate_stride;
    T* output = static_cast<T*>(call.output) + row * call.output_stride;
    for (std::int64_t i = 0; i < call.width; ++i) {
      const double x = to_float(gate[call.gates == 1 ? 0 : i]);
      store(output + i, static_cast<float>(to_float(output[i]) / (1.0 + std::exp(-x))));
    }
  }
}

template <class T>
void conv_step(const HearthConvStep& call, std::int64_t row) {
  const T* input = static_cast<const T*>(call.input) + row * call.input_stride;
  T* output = static_cast<T*>(call.output) + row * call.output_stride;
  const std::int64_t past = call.taps - 1;
  float* window = call.window + call.slot[row] * past * call.channels;
  for (std::int64_t channel = 0; channel < call.channels; ++channel) {
    const T* weight = static_cast<const T*>(call.weight) + channel * call.taps;
    double sum = double{to_float(input[channel])} * to_float(weight[past]);
    for (std::int64_t tap = 0; tap < past; ++tap)
      sum += double{window[tap * call.channels + channel]} * to_float(weight[tap]);
    for (std::int64_t tap = 0; tap + 1 < past; ++tap)
      window[tap * call.channels + channel] = window[(tap + 1) * call.channels + channel];
    window[(past - 1) * call.channels + channel] = to_float(input[channel]);
    store(output + channel, static_cast<float>(silu(sum)));
  }
}

}  // namespace

HearthStatus ref::embed(const HearthEmbed* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  call->type == HEARTH_F32 ? kernels::embed<float>(*call) : kernels::embed<BFloat16>(*call);
  return HEARTH_OK;
}

HearthStatus ref::rms_norm(const HearthRmsNorm* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  call->type == HEARTH_F32 ? kernels::rms_norm<float>(*call) : kernels::rms_norm<BFloat16>(*call);
  return HEARTH_OK;
}

HearthStatus ref::swiglu(const HearthSwiGlu* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  call->type == HEARTH_F32 ? kernels::swiglu<float>(*call) : kernels::swiglu<BFloat16>(*call);
  return HEARTH_OK;
}

HearthStatus ref::gate(const HearthGate* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  if (call->type == HEARTH_F32)
    kernels::gate<float, float>(*call);
  else if (call->gate_type == HEARTH_F32)
    kernels::gate<BFloat16, float>(*call);
  else
    kernels::gate<BFloat16, BFloat16>(*call);
  return HEARTH_OK;
}

HearthStatus ref::conv_step(const HearthConvStep* call, void*) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  for (std::int64_t row = 0; row < call->rows; ++row) {
    if (call->slot[row] < 0) continue;
    call->type == HEARTH_F32 ? kernels::conv_step<float>(*call, row)
                             : kernels::conv_step<BFloat16>(*call, row);
  }
  return HEARTH_OK;
}

}  // namespace hearth::kernels
