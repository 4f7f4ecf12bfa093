// Between the plain types of the other folders and ATen's.
//
// Any thread. Views borrow the memory they show.
#pragma once

#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/kernels/kernels.h"
#include "models/model.h"
#include "shm/tensor.h"

namespace hearth::engine {

at::ScalarType scalar_type(DType dtype);  // of the types hidden states come in: f32, bf16, f16
at::ScalarType scalar_type(HearthType type);
at::Device device_of(int index);  // a CUDA device; -1: the host

// A view of memory on `device`; strides in elements.
at::Tensor view_at(const void* data, at::IntArrayRef shape, at::IntArrayRef strides,
                   at::TensorOptions options);
// The same, dense.
at::Tensor view_at(const void* data, at::IntArrayRef shape, at::TensorOptions options);
// A view of host memory as [rows, bytes / rows / item size].
at::Tensor rows_in(std::span<std::byte> bytes, DType dtype, std::int64_t rows);

// A copy on the host, row-major.
std::vector<float> to_floats(const at::Tensor& tensor);
// A copy of `values` with this shape on the host. f32
at::Tensor from_floats(std::span<const float> values, at::IntArrayRef shape);

}  // namespace hearth::engine
