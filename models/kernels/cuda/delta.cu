// One token of the hybrid layers: the short convolution and the gated delta rule.

#include "models/kernels/check_operations.h"
#include "models/kernels/cuda/functions.h"
#include "models/kernels/cuda/numbers.cuh"

namespace hearth::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kDeltaThreads = 128;
constexpr float kLengthEpsilon = 1e-6f;

template <class T>
__global__ __launch_bounds__(kThreads) void conv_step_kernel(HearthConvStep c) {
  wait_for_previous();
  const long long row = blockIdx.x;
  const long long channel = static_cast<long long>(blockIdx.y) * kThreads + threadIdx.x;
  const int slot = c.slot[row];
  if (slot < 0 || channel >= c.channels) return;
  const long long past = c.taps - 1;
  const T* weight = static_cast<const T*>(c.weight) + channel * c.taps;
  float* window = c.window + slot * past * c.channels + channel;
  const float input = to_float(static_cast<const T*>(c.input)[row * c.input_stride + channel]);
  float sum = 0.0f;
  for (long long tap = 0; tap < past; ++tap) {
    sum = fmaf(window[tap * c.channels], to_float(weight[tap]), sum);
    window[tap * c.channels] = tap + 1 < past ? window[(tap + 1) * c.channels] : input;
  }
  sum = fmaf(input, to_float(weight[past]), sum);
  store(static_cast<T*>(c.output) + row * c.output_stride + channel, silu(sum));
}

__device__ float softplus(float x) {
  return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
}

// What a block keeps of its head: the scaled query and key.
struct DeltaShared {
  float* query;  // [key_dim]
  float* key;
  float* output;   // [value_dim], before the norm
  float* scratch;  // [warps]
};

__device__ DeltaShared divide(const HearthDeltaStep& c) {
  auto* start = reinterpret_cast<float*>(shared_memory());
  return {start, start + c.key_dim, start + 2 * c.key_dim, start + 2 * c.key_dim + c.value_dim};
}

std::size_t delta_shared_bytes(const HearthDeltaStep& c) {
  return sizeof(float) * (2 * c.key_dim + c.value_dim + kDeltaThreads / kWarp);
}

// Copies a vector of key_dim numbers, made as long as `length`.
template <class T>
__device__ void load_unit(const T* from, long long count, float length, float* scratch, float* to) {
  float squares = 0.0f;
  for (long long i = threadIdx.x; i < count; i += kDeltaThreads)
    squares += to_float(from[i]) * to_float(from[i]);
  const float scale = length / sqrtf(block_sum(squares, scratch) + kLengthEpsilon);
  for (long long i = threadIdx.x; i < count; i += kDeltaThreads) to[i] = to_float(from[i]) * scale;
  __syncthreads();
}

// Moves one column of the state on, by one thread; the head's output there.
__device__ float move_column(const HearthDeltaStep& c, const DeltaShared& shared, float* state,
                             float decay, float beta, float value) {
  float remembered = 0.0f;
  for (long long i = 0; i < c.key_dim; ++i)
    remembered = fmaf(decay * state[i * c.value_dim], shared.key[i], remembered);
  const float change = beta * (value - remembered);
  float output = 0.0f;
  for (long long i = 0; i < c.key_dim; ++i) {
    const float moved = fmaf(shared.key[i], change, decay * state[i * c.value_dim]);
    state[i * c.value_dim] = moved;
    output = fmaf(moved, shared.query[i], output);
  }
  return output;
}

// A block for each value head of a row; a thread for each column of its state.
template <class T>
__global__ __launch_bounds__(kDeltaThreads) void delta_step_kernel(HearthDeltaStep c) {
  wait_for_previous();
  const long long head = blockIdx.y;
  const long long row = blockIdx.x;
  const int slot = c.slot[row];
  if (slot < 0) return;
  const DeltaShared shared = divide(c);
  const long long key_head = head * c.key_heads / c.value_heads;
  const T* qkv = static_cast<const T*>(c.qkv) + row * c.qkv_stride;
  load_unit(qkv + key_head * c.key_dim, c.key_dim, 1.0f / sqrtf(static_cast<float>(c.key_dim)),
            shared.scratch, shared.query);
  load_unit(qkv + (c.key_heads + key_head) * c.key_dim, c.key_dim, 1.0f, shared.scratch,
            shared.key);
  const long long at = row * c.ab_stride + head;
  const float step = to_float(static_cast<const T*>(c.a)[at]) + c.dt_bias[head];
  const float decay = expf(-expf(c.a_log[head]) * softplus(step));
  const float beta = sigmoid(to_float(static_cast<const T*>(c.b)[at]));
  float* state = c.state + (slot * c.value_heads + head) * c.key_dim * c.value_dim;
  const T* value = qkv + 2 * c.key_heads * c.key_dim + head * c.value_dim;
  float squares = 0.0f;
  for (long long i = threadIdx.x; i < c.value_dim; i += kDeltaThreads) {
    const float output = move_column(c, shared, state + i, decay, beta, to_float(value[i]));
    shared.output[i] = output;
    squares += output * output;
  }
  const float mean = block_sum(squares, shared.scratch) / static_cast<float>(c.value_dim);
  const float scale = 1.0f / sqrtf(mean + c.norm_epsilon);
  const T* z = static_cast<const T*>(c.z) + row * c.z_stride + head * c.value_dim;
  T* output = static_cast<T*>(c.output) + row * c.output_stride + head * c.value_dim;
  for (long long i = threadIdx.x; i < c.value_dim; i += kDeltaThreads)
    store(output + i, shared.output[i] * scale * c.norm[i] * silu(to_float(z[i])));
}

}  // namespace

HearthStatus conv_step(const HearthConvStep* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  auto* kernel = call->type == HEARTH_F32 ? &conv_step_kernel<float> : &conv_step_kernel<BFloat16>;
  const dim3 grid(static_cast<unsigned>(call->rows), blocks_for(call->channels, kThreads));
  return launch({grid, kThreads}, stream, kernel, *call);
}

HearthStatus delta_step(const HearthDeltaStep* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  auto* kernel =
      call->type == HEARTH_F32 ? &delta_step_kernel<float> : &delta_step_kernel<BFloat16>;
  const std::size_t shared_bytes = delta_shared_bytes(*call);
  constexpr std::size_t kMostShared = 48 * 1024;
  if (shared_bytes > kMostShared) return HEARTH_BAD_ARGUMENT;
  const dim3 grid(static_cast<unsigned>(call->rows), static_cast<unsigned>(call->value_heads));
  return launch({grid, kDeltaThreads, shared_bytes}, stream, kernel, *call);
}

}  // namespace hearth::kernels::cuda
