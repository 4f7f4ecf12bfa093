// What numbers a model computes with, from what was asked for and what its files hold.
//
// Plain values; any thread.
#pragma once

#include <string_view>

#include "models/kernels/kernels.h"
#include "shm/base/result.h"
#include "shm/tensor.h"

namespace hearth::weights {

struct Precision {
  std::string_view name = "float32";        // as status and receipts say it
  HearthType type = HEARTH_F32;             // of activations, biases, embedding and further tensors
  HearthFormat linear = HEARTH_FORMAT_F32;  // of the decoder's linears but the head
  HearthFormat head = HEARTH_FORMAT_F32;
};

// `wanted` as in LoadOptions. auto: the type that the files `store`; f16 widens to float32, for
// bfloat16 would round it. int4 keeps the head in INT8: its rows decide between words, and it is a
// small part of what a step reads. Errors: unsupported for another name.
Result<Precision> choose_precision(std::string_view wanted, DType stored);

HearthFormat format_of(HearthType type);

}  // namespace hearth::weights
