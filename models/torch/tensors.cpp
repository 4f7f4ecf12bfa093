#include "models/torch/tensors.h"

#include <cassert>
#include <cstring>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

namespace hearth::engine {

at::ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kF16:
      return at::kHalf;
    default:
      assert(dtype == DType::kF32);
      return at::kFloat;
  }
}

at::ScalarType scalar_type(HearthType type) {
  return type == HEARTH_BF16 ? at::kBFloat16 : at::kFloat;
}

at::Device device_of(int index) {
  if (index < 0) return at::Device(at::kCPU);
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
}

at::Tensor view_at(const void* data, at::IntArrayRef shape, at::IntArrayRef strides,
                   at::TensorOptions options) {
  // ATen has no tensors of constant memory; who gets a view of weights does not write to it.
  return at::for_blob(const_cast<void*>(data), shape)
      .strides(strides)
      .options(options)
      .target_device(options.device())
      .make_tensor();
}

at::Tensor view_at(const void* data, at::IntArrayRef shape, at::TensorOptions options) {
  return at::for_blob(const_cast<void*>(data), shape)
      .options(options)
      .target_device(options.device())
      .make_tensor();
}

at::Tensor rows_in(std::span<std::byte> bytes, DType dtype, std::int64_t rows) {
  const std::int64_t width = static_cast<std::int64_t>(bytes.size() / item_bytes(dtype)) / rows;
  return view_at(bytes.data(), {rows, width}, at::TensorOptions(scalar_type(dtype)));
}

std::vector<float> to_floats(const at::Tensor& tensor) {
  const at::Tensor host = tensor.to(at::Device(at::kCPU), at::kFloat).contiguous();
  const float* values = host.const_data_ptr<float>();
  return {values, values + host.numel()};
}

at::Tensor from_floats(std::span<const float> values, at::IntArrayRef shape) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  assert(tensor.numel() == static_cast<std::int64_t>(values.size()));
  std::memcpy(tensor.mutable_data_ptr<float>(), values.data(), values.size() * sizeof(float));
  return tensor;
}

}  // namespace hearth::engine
