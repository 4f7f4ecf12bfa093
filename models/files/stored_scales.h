// Weights that were rounded to 8 bits before they were stored: what multiplies their codes.
//
// Three ways of storing them are read, and files of all other ways are refused by name:
//   ComfyUI's fp8_scaled: a tensor `scaled_fp8`; beside each rounded X.weight one X.scale_weight
//     (comfy/utils.py, convert_old_quants);
//   ComfyUI's quantised layers: X.comfy_quant, JSON in bytes, or _quantization_metadata in the
//     header, with the formats float8_e4m3fn, float8_e5m2, int8_tensorwise; beside X.weight one
//     X.weight_scale, of int8 also one for each row (comfy/quant_ops.py);
//   the hub's block FP8: quantization_config.quant_method "fp8", beside X one X_scale_inv for each
//     block of [128, 128] (transformers, finegrained_fp8).
// FP8 weights of files with none of these marks are numbers as they stand.
//
// A weight is code * scale, in f32. Scales of inputs are not read: inputs are not rounded to FP8.
//
// Plain values that borrow entries of the WeightIndex; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "models/files/weight_index.h"
#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::files {

struct StoredScale {
  const WeightEntry* entry = nullptr;  // of the scales, f32, bf16 or f16; null: 1
  // What one scale is for: so many rows and columns of each matrix [.., rows, columns]; 0: all.
  std::int64_t block_rows = 0;
  std::int64_t block_columns = 0;

  // Whether no row has more than one scale.
  bool is_by_row() const { return block_columns == 0; }
};

// By the weight's unified name. Every FP8 or I8 weight that is read has its entry.
class StoredScales {
 public:
  const StoredScale* find(std::string_view weight) const;  // null: stored as numbers
  bool empty() const { return scales_.empty(); }
  void add(const std::string& weight, const StoredScale& scale) { scales_[weight] = scale; }

 private:
  std::map<std::string, StoredScale, std::less<>> scales_;
};

// Families call it before they look at shapes. Errors: unsupported naming the method, for AWQ,
// GPTQ, bitsandbytes and other ways than those above; bad_model naming file and tensor, for scales
// that are missing or do not fit.
Result<StoredScales> read_stored_scales(const models::ModelFiles& files, const WeightIndex& index);

}  // namespace hearth::files
