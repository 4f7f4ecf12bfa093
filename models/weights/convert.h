// Changes of element type on the way from a file to the arena.
#pragma once

#include <cstddef>

#include "models/kernels/kernels.h"
#include "shm/tensor.h"

namespace hearth::weights {

// `count` elements of f32, bf16 or f16 as f32 or bf16, rounded to nearest even. Overlap is not
// allowed; any alignment of `source`.
void convert(DType from, const std::byte* source, HearthType to, void* target, std::size_t count);

// A dense matrix of items of 1, 2 or 4 bytes. [rows, columns]
struct Items {
  std::byte* first = nullptr;
  std::size_t rows = 0;
  std::size_t columns = 0;
};

// target[r, c] = source[c, r]. `source`: [target.columns, …], `stride_bytes` from row to row; any
// alignment.
void transpose(std::size_t item_bytes, const std::byte* source, std::size_t stride_bytes,
               const Items& target);

}  // namespace hearth::weights
