// Keys and values on their way into the pages and out of them.

#include "models/kernels/check_operations.h"
#include "models/kernels/cuda/functions.h"
#include "models/kernels/cuda/numbers.cuh"
#include "models/kernels/cuda/pages.cuh"

namespace hearth::kernels::cuda {
namespace {

// A head of 128 channels is four numbers a lane.
constexpr int kHeadsAtOnce = 4;
constexpr int kThreads = kHeadsAtOnce * kWarp;

// Norm and rotation of one head by one warp; `to` may be `from`.
template <class T>
__device__ void turn(const HearthRopeWrite& c, long long row, const float* norm, const T* from,
                     T* to) {
  const int width = static_cast<int>(c.cache.head_dim);
  const int half = width / 2;
  float scale = 1.0f;
  if (norm != nullptr) {
    float squares = 0.0f;
    for (int i = lane_of(); i < width; i += kWarp) squares += to_float(from[i]) * to_float(from[i]);
    scale = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(width) + c.norm_epsilon);
  }
  for (int i = lane_of(); i < half; i += kWarp) {
    float left = to_float(from[i]);
    float right = to_float(from[i + half]);
    if (norm != nullptr) {
      left *= scale * norm[i];
      right *= scale * norm[i + half];
    }
    const float cosine = c.cosines[row * half + i];
    const float sine = c.sines[row * half + i];
    store(to + i, left * cosine - right * sine);
    store(to + i + half, right * cosine + left * sine);
  }
}

// A warp for each head of queries, then keys, then values.
template <class T>
__global__ __launch_bounds__(kThreads) void rope_write_kernel(HearthRopeWrite c) {
  wait_for_previous();
  const long long row = blockIdx.x;
  const int heads = static_cast<int>(c.heads);
  const int kv_heads = static_cast<int>(c.cache.kv_heads);
  const int head = static_cast<int>(blockIdx.y) * kHeadsAtOnce + warp_of();
  const int token = c.index[row];
  if (token < 0 || head >= heads + 2 * kv_heads) return;
  T* from = static_cast<T*>(c.qkv) + row * c.qkv_stride + head * c.cache.head_dim;
  if (head < heads) {
    turn(c, row, c.q_norm, from, from);
  } else if (head < heads + kv_heads) {
    turn(c, row, c.k_norm, from, token_at<T>(c.cache, c.slot[row], token, kKeys, head - heads));
  } else {
    T* to = token_at<T>(c.cache, c.slot[row], token, kValues, head - heads - kv_heads);
    for (int i = lane_of(); i < c.cache.head_dim; i += kWarp) to[i] = from[i];
  }
}

// A warp for each token of each head.
template <class T>
__global__ __launch_bounds__(kThreads) void gather_kernel(HearthGather c) {
  wait_for_previous();
  const int token = static_cast<int>(blockIdx.x) * kHeadsAtOnce + warp_of();
  const int head = static_cast<int>(blockIdx.y);
  if (token >= c.tokens) return;
  const T* key = token_at<T>(c.cache, c.slot, token, kKeys, head);
  const T* value = token_at<T>(c.cache, c.slot, token, kValues, head);
  const long long to = (head * c.tokens + token) * c.cache.head_dim;
  for (int i = lane_of(); i < c.cache.head_dim; i += kWarp) {
    static_cast<T*>(c.keys)[to + i] = key[i];
    static_cast<T*>(c.values)[to + i] = value[i];
  }
}

}  // namespace

HearthStatus rope_write(const HearthRopeWrite* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  auto* kernel =
      call->type == HEARTH_F32 ? &rope_write_kernel<float> : &rope_write_kernel<BFloat16>;
  const dim3 grid(static_cast<unsigned>(call->rows),
                  blocks_for(call->heads + 2 * call->cache.kv_heads, kHeadsAtOnce));
  return launch({grid, kThreads}, stream, kernel, *call);
}

HearthStatus gather(const HearthGather* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  auto* kernel = call->cache.type == HEARTH_F32 ? &gather_kernel<float> : &gather_kernel<BFloat16>;
  const dim3 grid(blocks_for(call->tokens, kHeadsAtOnce),
                  static_cast<unsigned>(call->cache.kv_heads));
  return launch({grid, kThreads}, stream, kernel, *call);
}

}  // namespace hearth::kernels::cuda
