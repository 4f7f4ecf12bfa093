// The one door to the matrix products of a prefill and of a vision tower: few rows by the step's
// kernels, many by the kernels of gemm.h or, where the processor lacks what they need, by ATen.
//
// Ownership: owns scratch memory, which grows to the largest use. Engine thread only, inside
// c10::InferenceMode and OnStream. Throws what ATen throws.
#pragma once

#include "models/kernels/gemm.h"
#include "models/torch/compute.h"

namespace hearth::engine {

class Linears {
 public:
  explicit Linears(const Compute& compute) : compute_(compute) {}

  // What HearthGemm says, for F32 activations and weights, too. All types are the Compute's;
  // output_type may also be F32, but not with SWIGLU. For few features: multiplied in fp32 then.
  Result<void> run(const HearthGemm& call);
  // Gives memory that is kept between calls back.
  void drop_scratch() { normed_ = wide_ = input_ = panel_ = product_ = Scratch(); }

 private:
  // Some features of a product: output = input rowsᵀ + bias, or output += it.
  struct Panel {
    at::Tensor rows;    // [count, in_features], in the library's type
    at::Tensor bias;    // [count], or undefined
    at::Tensor output;  // [rows of the input, count]
    bool add = false;
  };

  bool takes_few_rows(const HearthGemm& call) const;
  HearthStatus few_rows(const HearthGemm& call) const;
  Result<void> by_library(const HearthGemm& call);
  Result<at::Tensor> normed(const HearthGemm& call);
  Result<at::Tensor> library_input(const HearthGemm& call);
  Result<void> multiply(const HearthGemm& call, const at::Tensor& input, at::Tensor& output);
  void multiply_panel(const at::Tensor& input, const Panel& panel);
  Result<at::Tensor> panel(const HearthGemm& call, std::int64_t first, std::int64_t count);
  at::ScalarType library(const HearthGemm& call) const;

  const Compute compute_;
  Scratch normed_, wide_, input_, panel_, product_;
};

}  // namespace hearth::engine
