// Where a token's keys and values lie in the pages of a cache, as models/kernels/cache.h says for
// the host.
#pragma once

#include "models/kernels/cuda/launch.cuh"
#include "models/kernels/kernels.h"

namespace hearth::kernels::cuda {

constexpr int kKeys = 0;
constexpr int kValues = 1;

// [head_dim] elements of one token of a page.
template <class T>
__device__ __forceinline__ T* in_page(const HearthCache& cache, long long page, int token, int part,
                                      int head) {
  const long long block = (page * 2 + part) * cache.kv_heads + head;
  return static_cast<T*>(cache.pages) + (block * HEARTH_PAGE_TOKENS + token) * cache.head_dim;
}

// The same of a token of a slot.
template <class T>
__device__ __forceinline__ T* token_at(const HearthCache& cache, int slot, int token, int part,
                                       int head) {
  const int page = cache.table[slot * cache.table_stride + token / HEARTH_PAGE_TOKENS];
  return in_page<T>(cache, page, token % HEARTH_PAGE_TOKENS, part, head);
}

}  // namespace hearth::kernels::cuda
