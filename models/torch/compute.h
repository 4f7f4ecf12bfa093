// Where operations of many rows compute, and by what: kernels made for this processor, or ATen.
//
// Engine thread only, inside c10::InferenceMode. Throws what ATen throws.
#pragma once

#include <optional>
#include <string_view>

#include <ATen/core/Tensor.h>
#include <c10/core/StreamGuard.h>

#include "models/decoder/device_memory.h"

namespace hearth::engine {

// Who computes attention of many rows: kernels/gemm.h, ATen's scaled_dot_product_attention, or
// ATen's products and softmax one after another, all in f32.
enum class AttentionBy { kFlash, kLibrary, kEager };

struct Compute {
  decoder::DeviceMemory* memory = nullptr;
  HearthType type = HEARTH_F32;         // of activations
  int device = -1;                      // CUDA device of all pointers; -1: the host
  bool amx = false;                     // bf16 products by kernels/gemm.h
  at::ScalarType library = at::kFloat;  // what ATen multiplies in where it does
  AttentionBy attention = AttentionBy::kLibrary;
  // Somebody looks for faults: all rows of a prompt take this attention, none that of steps.
  bool attention_is_chosen = false;

  // Of activations.
  at::TensorOptions options() const;
  const HearthKernels& kernels() const { return memory->kernels(); }
};

// Gives memory that ATen keeps for later uses back to the device; nothing on the host.
void give_back_unused(const Compute& compute);

// The fastest of what this machine has.
Compute choose_compute(decoder::DeviceMemory& memory, HearthType type, int device);

// `wanted` as in LoadOptions. Any thread. Errors: unsupported where the device has none of that
// kind for this arithmetic type.
Result<AttentionBy> choose_attention(std::string_view wanted, HearthType type, int device);

// Memory that grows to its largest use and stays: later uses allocate nothing.
class Scratch {
 public:
  // Dense, not initialised; valid until the next call.
  at::Tensor take(at::IntArrayRef shape, at::TensorOptions options);

 private:
  at::Tensor bytes_;  // u8
};

// While it lives, ATen computes on the stream of the kernels.
class OnStream {
 public:
  explicit OnStream(const Compute& compute);

 private:
  std::optional<c10::StreamGuard> guard_;  // none on the host
};

}  // namespace hearth::engine
