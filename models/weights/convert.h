// Changes of element type on the way from a file to the arena.
#pragma once

#include <cstddef>

#include "models/kernels/kernels.h"
#include "shm/tensor.h"

namespace hearth::weights {

// `count` elements of f32, bf16 or f16 as f32 or bf16, rounded to nearest even. Overlap is not
// allowed; any alignment of `source`.
void convert(DType from, const std::byte* source, HearthType to, void* target, std::size_t count);

}  // namespace hearth::weights
