// Checked reading of a checkpoint's tensors into memory of our own, in the arithmetic type wanted.
//
// Bytes go by pread straight into the final buffer when type and device allow it. Ownership: the
// tensors returned own their memory. Threads: one at a time (the load thread).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/decoder/description.h"
#include "models/files/weight_index.h"
#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::engine {

class WeightReader {
 public:
  // `index`, `shapes` (what each tensor must look like) and `options` are borrowed. `type`: f32 or
  // bf16.
  WeightReader(const files::WeightIndex& index, const decoder::TensorShapes& shapes,
               const models::LoadOptions& options, at::ScalarType type);

  // All errors: bad_model naming tensor and shapes, unsupported for other element types, cancelled.
  Result<at::Tensor> read(const std::string& name);
  // Kept in f32 whatever the arithmetic type: norms multiply in f32.
  Result<at::Tensor> read_f32(const std::string& name);
  // Under each other along the first dimension; the others must be equal.
  Result<at::Tensor> read_stacked(const std::vector<std::string>& names);

  at::ScalarType type() const { return type_; }
  std::uint64_t placed_bytes() const { return placed_bytes_; }  // on the device so far

 private:
  Result<at::Tensor> read_as(const std::vector<std::string>& names, at::ScalarType type);
  Result<void> fill(const files::WeightEntry& entry, at::Tensor rows);
  Result<void> report(const files::WeightEntry& entry);

  const files::WeightIndex& index_;
  const decoder::TensorShapes& shapes_;
  const models::LoadOptions& options_;
  const at::ScalarType type_;
  const at::Device device_;
  std::uint64_t read_bytes_ = 0;
  std::uint64_t placed_bytes_ = 0;
};

}  // namespace hearth::engine
