// Between the plain types of the other folders and ATen's.
//
// Any thread. Views borrow the memory they show.
#pragma once

#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/decoder/weights.h"
#include "models/model.h"
#include "shm/tensor.h"

namespace hearth::engine {

at::ScalarType scalar_type(DType dtype);  // of the types weights come in: f32, bf16, f16
at::Device device_of(const models::Device& device);

at::Tensor view_of(const decoder::WeightView& weight);  // undefined when absent
decoder::WeightView view_of(const at::Tensor& tensor);  // absent when undefined

// A view of host memory as [rows, bytes / rows / item size].
at::Tensor rows_in(std::span<std::byte> bytes, DType dtype, std::int64_t rows);

// A copy on the host, row-major.
std::vector<float> to_floats(const at::Tensor& tensor);
// A copy of `values` with this shape on the host. f32
at::Tensor from_floats(std::span<const float> values, at::IntArrayRef shape);
at::Tensor from_integers(const std::vector<std::int64_t>& values);  // i64, one dimension

}  // namespace hearth::engine
