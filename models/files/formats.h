// Refusal by name: model files of a kind that hearth does not read yet, or never will.
//
// Reads headers and config.json only. Pickles are never opened further than their first bytes.
#pragma once

#include "models/files/weight_index.h"
#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::files {

// Says what a file is when it cannot be weights for hearth: GGUF, a pickle (.bin, .pt, .ckpt),
// HDF5, ONNX. For a file without a known fault: success. Errors: unsupported.
Result<void> refuse_foreign_format(const models::ModelFile& file);

// Refuses AWQ, GPTQ, bitsandbytes, FP8 and other quantised weights, by config.json's
// quantization_config and by the tensors' names and types. Families call it before they look at
// shapes. Errors: unsupported, naming the method and what to use instead.
Result<void> refuse_quantised(const models::ModelFiles& files, const WeightIndex& index);

}  // namespace hearth::files
