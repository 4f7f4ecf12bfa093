#include "models/torch/compute.h"

#include <ATen/ops/empty.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/accumulate.h>
#include <fmt/format.h>

#include "models/kernels/gemm.h"
#include "models/torch/tensors.h"

namespace hearth::engine {
namespace {

// Below AVX-512, oneDNN has no bf16 product and ATen's own takes a hundred times as long as one in
// f32.
bool multiplies_bfloat16() {
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq");
}

// Whether this machine has the kernels of gemm.h.
bool has_fused_kernels(HearthType type, int device) {
  return device < 0 && type == HEARTH_BF16 && hearth_gemm_cpu_available() != 0;
}

}  // namespace

at::TensorOptions Compute::options() const {
  return at::TensorOptions(scalar_type(type)).device(device_of(device));
}

Compute choose_compute(decoder::DeviceMemory& memory, HearthType type, int device) {
  const bool host = device < 0;
  const bool bfloat16 = type == HEARTH_BF16;
  const bool fused = has_fused_kernels(type, device);
  return {.memory = &memory,
          .type = type,
          .device = device,
          .amx = fused,
          .library = bfloat16 && (!host || multiplies_bfloat16()) ? at::kBFloat16 : at::kFloat,
          .attention = fused ? AttentionBy::kFlash : AttentionBy::kLibrary};
}

Result<AttentionBy> choose_attention(std::string_view wanted, HearthType type, int device) {
  const bool fused = has_fused_kernels(type, device);
  if (wanted == "auto") return fused ? AttentionBy::kFlash : AttentionBy::kLibrary;
  if (wanted == "sdpa") return AttentionBy::kLibrary;
  if (wanted == "eager") return AttentionBy::kEager;
  if (wanted == "flash" && fused) return AttentionBy::kFlash;
  return fail(
      Code::kUnsupported,
      fmt::format("attention \"{}\": there is no such kernel for {} on this {}", wanted,
                  type == HEARTH_BF16 ? "bfloat16" : "float32", device < 0 ? "processor" : "GPU"),
      "Use auto, sdpa or eager; flash needs bfloat16 and a processor with AMX.");
}

void give_back_unused(const Compute& compute) {
  if (compute.device >= 0) c10::getDeviceAllocator(at::kCUDA)->emptyCache();
}

at::Tensor Scratch::take(at::IntArrayRef shape, at::TensorOptions options) {
  const std::int64_t bytes =
      c10::multiply_integers(shape) * static_cast<std::int64_t>(options.dtype().itemsize());
  if (!bytes_.defined() || bytes_.numel() < bytes) {
    bytes_.reset();  // first, so that old and new never take memory together
    bytes_ = at::empty({bytes}, options.dtype(at::kByte));
  }
  return view_at(bytes_.mutable_data_ptr(), shape, options);
}

OnStream::OnStream(const Compute& compute) {
  if (compute.device < 0) return;
  // The id of a stream that ATen did not make is its handle (c10/cuda/CUDAStream.cpp).
  const auto id = reinterpret_cast<c10::StreamId>(compute.memory->stream());
  guard_.emplace(c10::Stream(c10::Stream::UNSAFE, device_of(compute.device), id));
}

}  // namespace hearth::engine
