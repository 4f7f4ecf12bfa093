// Split attention: a block for each part of HEARTH_SPLIT_TOKENS cached tokens, each key head and
// row, for all its query heads; then the parts are joined in order.
//
// A part is read by its number alone, and the launch is as large as most_tokens asks for: blocks
// beyond a row's last token leave at once. So a row's bits depend on its own tokens only.

#include "models/kernels/check_operations.h"
#include "models/kernels/cuda/functions.h"
#include "models/kernels/cuda/numbers.cuh"
#include "models/kernels/cuda/pages.cuh"
#include "models/kernels/workspace.h"

namespace hearth::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kTokens = HEARTH_SPLIT_TOKENS;
constexpr int kHeads = 4;      // query heads that share one reading of keys and values
constexpr int kQuadLanes = 4;  // lanes that read one key together
constexpr int kJoinThreads = 128;
constexpr int kPages = kTokens / HEARTH_PAGE_TOKENS;
constexpr int kValuesInFlight = 8;  // packs of values that a lane has on the way from memory

struct PartCall {
  HearthAttention attention;
  int group;          // query heads of a key head
  int splits;         // parts of the longest row
  int result_floats;  // of a part
  bool whole;         // heads are whole packs of 16 bytes, on such borders
};

// Shared memory of a block: kHeads queries, scores and, at the end, the warps' sums of values.
struct PartShared {
  float* query;   // [kHeads, head_dim]
  float* weight;  // [kHeads, kTokens]: scores, then exp(score - peak)
  float* mixed;   // [kWarps, kHeads, head_dim]
  int* page;      // [kPages]: those of the part
};

__device__ PartShared divide(int head_dim) {
  auto* start = reinterpret_cast<float*>(shared_memory());
  float* mixed = start + kHeads * (head_dim + kTokens);
  return {start, start + kHeads * head_dim, mixed,
          reinterpret_cast<int*>(mixed + kWarps * kHeads * head_dim)};
}

std::size_t part_shared_bytes(std::int64_t head_dim) {
  return sizeof(float) * kHeads * (head_dim + kTokens + kWarps * head_dim) + sizeof(int) * kPages;
}

// The heads of a block that are computed together: `count` of them from `first`.
struct HeadRange {
  int first, count;
};

// [head_dim] keys or values of a token of the part.
template <class T>
__device__ __forceinline__ const T* in_part(const PartCall& c, const PartShared& shared, int token,
                                            int part) {
  return in_page<T>(c.attention.cache, shared.page[token / HEARTH_PAGE_TOKENS],
                    token % HEARTH_PAGE_TOKENS, part, blockIdx.y);
}

// Scores of all tokens of the part. Four lanes read a key, so a warp reads eight at a time.
template <class T>
__device__ void score(const PartCall& c, const PartShared& shared, int tokens, HeadRange heads) {
  const int width = static_cast<int>(c.attention.cache.head_dim);
  const int packs = (width + kPack<T> - 1) / kPack<T>;
  const int part = lane_of() % kQuadLanes;
  for (int base = warp_of() * (kWarp / kQuadLanes); base < tokens; base += kThreads / kQuadLanes) {
    const int token = base + lane_of() / kQuadLanes;
    float sums[kHeads] = {};
    if (token < tokens) {
      const T* key = in_part<T>(c, shared, token, kKeys);
#pragma unroll 4
      for (int pack = part; pack < packs; pack += kQuadLanes) {
        const int at = pack * kPack<T>;
        const Pack<T> k = load_pack(key + at, width - at, c.whole);
#pragma unroll
        for (int h = 0; h < kHeads; ++h) {
          if (h >= heads.count) break;
          const float* q = shared.query + h * width + at;
#pragma unroll
          for (int i = 0; i < kPack<T>; ++i)
            if (c.whole || at + i < width) sums[h] = fmaf(q[i], to_float(k.number[i]), sums[h]);
        }
      }
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      sums[h] += __shfl_xor_sync(kAllLanes, sums[h], 1);
      sums[h] += __shfl_xor_sync(kAllLanes, sums[h], 2);
      if (part == 0 && token < tokens && h < heads.count)
        shared.weight[h * kTokens + token] = sums[h] * c.attention.scale;
    }
  }
}

// Where a part's result for a query head goes: head_dim values, peak, sum of weights.
__device__ float* part_result(const PartCall& c, long long row, int head, int split) {
  return static_cast<float*>(c.attention.workspace) +
         ((row * c.attention.heads + head) * c.splits + split) * c.result_floats;
}

// Turns the scores of one head into weights, by one warp, and leaves peak and sum.
__device__ void weigh(const PartCall& c, const PartShared& shared, int tokens, int h,
                      float* result) {
  float* weight = shared.weight + h * kTokens;
  float peak = -INFINITY;
  for (int token = lane_of(); token < tokens; token += kWarp) peak = fmaxf(peak, weight[token]);
  peak = warp_max(peak);
  float sum = 0.0f;
  for (int token = lane_of(); token < tokens; token += kWarp) {
    weight[token] = expf(weight[token] - peak);
    sum += weight[token];
  }
  sum = warp_sum(sum);
  if (lane_of() == 0) {
    result[c.attention.cache.head_dim] = peak;
    result[c.attention.cache.head_dim + 1] = sum;
  }
}

// sums[h] += weight of head h * values
template <class T>
__device__ __forceinline__ void add_weighted(const Pack<T>& values, const float* weight, int heads,
                                             float (*sums)[kPack<T>]) {
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    if (h >= heads) break;
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i)
      sums[h][i] = fmaf(weight[h * kTokens], to_float(values.number[i]), sums[h][i]);
  }
}

// Sums the values by their weights: a warp takes every kWarps-th token, a lane a pack of channels.
template <class T>
__device__ void mix(const PartCall& c, const PartShared& shared, int tokens, HeadRange heads) {
  const int width = static_cast<int>(c.attention.cache.head_dim);
  for (int at = lane_of() * kPack<T>; at < width; at += kWarp * kPack<T>) {
    float sums[kHeads][kPack<T>] = {};
    for (int first = warp_of(); first < tokens; first += kWarps * kValuesInFlight) {
      Pack<T> v[kValuesInFlight];
#pragma unroll
      for (int j = 0; j < kValuesInFlight; ++j)
        if (first + j * kWarps < tokens)
          v[j] = load_pack(in_part<T>(c, shared, first + j * kWarps, kValues) + at, width - at,
                           c.whole);
#pragma unroll
      for (int j = 0; j < kValuesInFlight; ++j)
        if (first + j * kWarps < tokens)
          add_weighted(v[j], shared.weight + first + j * kWarps, heads.count, sums);
    }
    for (int h = 0; h < heads.count; ++h)
#pragma unroll
      for (int i = 0; i < kPack<T>; ++i)
        if (at + i < width) shared.mixed[(warp_of() * kHeads + h) * width + at + i] = sums[h][i];
  }
}

template <class T>
__device__ void part_of_heads(const PartCall& c, const PartShared& shared, int row, int tokens,
                              HeadRange heads) {
  const int width = static_cast<int>(c.attention.cache.head_dim);
  const int split = blockIdx.z;
  const T* query = static_cast<const T*>(c.attention.query) + row * c.attention.query_stride +
                   static_cast<long long>(heads.first) * width;
  for (int i = threadIdx.x; i < heads.count * width; i += kThreads)
    shared.query[i] = to_float(query[i]);
  __syncthreads();
  score<T>(c, shared, tokens, heads);
  __syncthreads();
  if (warp_of() < heads.count)
    weigh(c, shared, tokens, warp_of(), part_result(c, row, heads.first + warp_of(), split));
  __syncthreads();
  mix<T>(c, shared, tokens, heads);
  __syncthreads();
  for (int i = threadIdx.x; i < heads.count * width; i += kThreads) {
    float sum = 0.0f;
    for (int warp = 0; warp < kWarps; ++warp) sum += shared.mixed[warp * kHeads * width + i];
    part_result(c, row, heads.first + i / width, split)[i % width] = sum;
  }
}

template <class T>
__global__ __launch_bounds__(kThreads) void part_kernel(PartCall c) {
  wait_for_previous();
  const int row = blockIdx.x;
  const int length = c.attention.index[row] + 1;
  const int tokens = min(length - static_cast<int>(blockIdx.z) * kTokens, kTokens);
  if (tokens <= 0) return;
  const PartShared shared = divide(static_cast<int>(c.attention.cache.head_dim));
  const int* table =
      c.attention.cache.table + c.attention.slot[row] * c.attention.cache.table_stride;
  if (static_cast<int>(threadIdx.x) * HEARTH_PAGE_TOKENS < tokens)
    shared.page[threadIdx.x] = table[blockIdx.z * kPages + threadIdx.x];
  for (int first = 0; first < c.group; first += kHeads)
    part_of_heads<T>(
        c, shared, row, tokens,
        {static_cast<int>(blockIdx.y) * c.group + first, min(kHeads, c.group - first)});
}

// A block for each query head of a row.
template <class T>
__global__ __launch_bounds__(kJoinThreads) void join_kernel(PartCall c) {
  wait_for_previous();
  const int head = blockIdx.y;
  const int row = blockIdx.x;
  const int width = static_cast<int>(c.attention.cache.head_dim);
  const int parts = min((c.attention.index[row] + kTokens) / kTokens, c.splits);
  T* output = static_cast<T*>(c.attention.output) + row * c.attention.output_stride +
              static_cast<long long>(head) * width;
  float peak = -INFINITY;
  for (int i = 0; i < parts; ++i) peak = fmaxf(peak, part_result(c, row, head, i)[width]);
  for (int i = threadIdx.x; i < width; i += kJoinThreads) {
    float mixed = 0.0f, sum = 0.0f;
    for (int j = 0; j < parts; ++j) {
      const float* part = part_result(c, row, head, j);
      const float weight = expf(part[width] - peak);
      mixed = fmaf(weight, part[i], mixed);
      sum = fmaf(weight, part[width + 1], sum);
    }
    store(output + i, parts > 0 ? mixed / sum : 0.0f);
  }
}

template <class T>
HearthStatus run(const HearthAttention& call, void* stream) {
  const auto width = static_cast<int>(call.cache.head_dim);
  const PartCall c{
      call, static_cast<int>(call.heads / call.cache.kv_heads),
      static_cast<int>(split_count(call.most_tokens)), static_cast<int>(part_floats(width)),
      width % kPack<T> == 0 && reinterpret_cast<unsigned long long>(call.cache.pages) % 16 == 0};
  Device device;
  if (const HearthStatus status = current_device(&device); status != HEARTH_OK) return status;
  const std::size_t shared_bytes = part_shared_bytes(width);
  if (shared_bytes > static_cast<std::size_t>(device.shared_bytes)) return HEARTH_BAD_ARGUMENT;
  const cudaError_t error = cudaFuncSetAttribute(
      part_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, device.shared_bytes);
  if (error != cudaSuccess) return from_cuda(error);
  const auto rows = static_cast<unsigned>(call.rows);
  const dim3 parts(rows, static_cast<unsigned>(call.cache.kv_heads),
                   static_cast<unsigned>(c.splits));
  const HearthStatus status = launch({parts, kThreads, shared_bytes}, stream, part_kernel<T>, c);
  if (status != HEARTH_OK) return status;
  return launch({dim3(rows, static_cast<unsigned>(call.heads)), kJoinThreads}, stream,
                join_kernel<T>, c);
}

}  // namespace

HearthStatus attention(const HearthAttention* call, void* stream) {
  if (const HearthStatus status = check(call); status != HEARTH_OK) return status;
  return call->type == HEARTH_F32 ? run<float>(*call, stream) : run<BFloat16>(*call, stream);
}

}  // namespace hearth::kernels::cuda
