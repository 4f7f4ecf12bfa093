#include "models/torch/tensors.h"

#include <cassert>
#include <cstring>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

namespace hearth::engine {
namespace {

DType dtype_of(at::ScalarType type) {
  switch (type) {
    case at::kBFloat16:
      return DType::kBF16;
    case at::kHalf:
      return DType::kF16;
    default:
      assert(type == at::kFloat);
      return DType::kF32;
  }
}

}  // namespace

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

at::Device device_of(const models::Device& device) {
  if (device.kind == models::DeviceKind::kCpu) return at::Device(at::kCPU);
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device.index));
}

at::Tensor view_of(const decoder::WeightView& weight) {
  if (!weight) return {};
  const at::Device device =
      weight.device < 0 ? at::Device(at::kCPU)
                        : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(weight.device));
  const auto options = at::TensorOptions(scalar_type(weight.dtype)).device(device);
  return at::for_blob(const_cast<void*>(weight.data), weight.shape)
      .options(options)
      .target_device(device)
      .make_tensor();
}

decoder::WeightView view_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return {};
  assert(tensor.is_contiguous());
  return {tensor.data_ptr(), dtype_of(tensor.scalar_type()), tensor.sizes().vec(),
          tensor.is_cuda() ? tensor.device().index() : -1};
}

at::Tensor rows_in(std::span<std::byte> bytes, DType dtype, std::int64_t rows) {
  const std::int64_t width = static_cast<std::int64_t>(bytes.size() / item_bytes(dtype)) / rows;
  return at::for_blob(bytes.data(), {rows, width}).options(scalar_type(dtype)).make_tensor();
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

at::Tensor from_integers(const std::vector<std::int64_t>& values) {
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(values.size())}, at::kLong);
  std::memcpy(tensor.mutable_data_ptr<std::int64_t>(), values.data(),
              values.size() * sizeof(std::int64_t));
  return tensor;
}

}  // namespace hearth::engine
