// Attention of many new tokens over keys and values that lie dense, by whom the Compute says.
//
// Engine thread only, inside c10::InferenceMode and OnStream. Throws what ATen throws.
#pragma once

#include <optional>

#include "models/kernels/gemm.h"
#include "models/torch/compute.h"

namespace hearth::engine {

class Attention {
 public:
  explicit Attention(const Compute& compute) : compute_(compute) {}

  // What HearthFlash says, in F32, too.
  Result<void> run(const HearthFlash& call);
  // Gives memory that is kept between calls back.
  void drop_scratch() { mask_.reset(); }

 private:
  // What rows may see: all keys; with `causal` row i keys 0 … i; with a mask, what is not -inf.
  struct Seen {
    double scale = 1.0;
    bool causal = false;
    std::optional<at::Tensor> mask = std::nullopt;  // [rows, keys]
  };

  void causal(const HearthFlash& call);
  void segmented(const HearthFlash& call) const;
  at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                    const Seen& seen) const;
  at::ScalarType type() const;
  at::Tensor rows(const HearthFlash& call, const void* data, std::int64_t heads,
                  std::int64_t stride) const;
  at::Tensor cached(const HearthFlash& call, const void* data) const;
  const at::Tensor& mask(std::int64_t rows, std::int64_t first);

  const Compute compute_;
  at::Tensor mask_;  // of the last call that had one: [rows, first + rows]
  std::int64_t mask_first_ = 0;
};

}  // namespace hearth::engine
