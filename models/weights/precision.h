// What numbers a model computes with, from what was asked for and what its files hold.
//
// Plain values; any thread.
#pragma once

#include <optional>
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
  // Linears, the head among them, are in `linear` only where the files hold them in just that;
  // others are in the arithmetic type.
  bool keeps_stored = false;
};

// What a model is asked to compute in. Both as in LoadOptions.
struct Wanted {
  std::string_view dtype = "auto";
  std::string_view head = "auto";
};

// auto: the type that the files `store`; f16 widens to float32, for bfloat16 would round it. Where
// weights are rounded the head is INT8: its rows decide between words, which 8 even steps a row
// serve better than FP8's, and it is a small part of what a step reads; with head bfloat16 it is
// not rounded. Errors: unsupported for another name.
Result<Precision> choose_precision(const Wanted& wanted, DType stored);

// What auto means for files of 8-bit codes: `kept` as they are, in bfloat16 arithmetic; none kept:
// bfloat16. Errors: as above, of the head.
Result<Precision> choose_kept_precision(const Wanted& wanted, std::optional<HearthFormat> kept);

HearthFormat format_of(HearthType type);

}  // namespace hearth::weights
