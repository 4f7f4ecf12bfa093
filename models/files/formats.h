// Refusal by name: model files of a kind that hearth does not read yet, or never will.
//
// Reads headers only. Pickles are never opened further than their first bytes.
#pragma once

#include "models/files/weight_index.h"
#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::files {

// Says what a file is when it cannot be weights for hearth: GGUF, a pickle (.bin, .pt, .ckpt),
// HDF5, ONNX. For a file without a known fault: success. Errors: unsupported.
Result<void> refuse_foreign_format(const models::ModelFile& file);

// Refuses AWQ, GPTQ, bitsandbytes and compressed-tensors by the tensors' names. Errors:
// unsupported, naming the method and what to use instead.
Result<void> refuse_quantised(const WeightIndex& index);

// unsupported: what the weights are quantised with, what says so, and what to use instead.
Error refused(std::string_view method, std::string_view evidence);

}  // namespace hearth::files
