// Where a token's keys and values lie in the pages of a cache.
#pragma once

#include <cstdint>

#include "models/kernels/kernels.h"

namespace hearth::kernels {

enum class CachePart : std::int64_t { kKeys = 0, kValues = 1 };

// Elements from `pages` to [head, 0, 0] of one part of a page: HEARTH_PAGE_TOKENS x head_dim
// elements in one piece.
inline std::int64_t block_offset(const HearthCache& cache, std::int64_t page, CachePart part,
                                 std::int64_t head) {
  return ((page * 2 + static_cast<std::int64_t>(part)) * cache.kv_heads + head) *
         HEARTH_PAGE_TOKENS * cache.head_dim;
}

// The page that holds a token of a slot.
inline std::int64_t page_of(const HearthCache& cache, std::int64_t slot, std::int64_t token) {
  return cache.table[slot * cache.table_stride + token / HEARTH_PAGE_TOKENS];
}

// [head_dim] elements of one token.
template <class T>
T* token_at(const HearthCache& cache, std::int64_t slot, std::int64_t token, CachePart part,
            std::int64_t head) {
  return static_cast<T*>(cache.pages) +
         block_offset(cache, page_of(cache, slot, token), part, head) +
         token % HEARTH_PAGE_TOKENS * cache.head_dim;
}

}  // namespace hearth::kernels
