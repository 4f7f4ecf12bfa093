// Weights that files store as 8-bit codes and scales, on their way to the arena: widened to f32, or
// kept as they are where one of our own formats holds them exactly.
//
// Plain values; any thread once they are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "models/files/stored_scales.h"
#include "models/files/weight_index.h"
#include "models/kernels/kernels.h"
#include "shm/base/result.h"
#include "shm/tensor.h"

namespace hearth::weights {

// The format that holds the stored codes and scales to the bit: INT8 and FP8 have one scale a row.
// None for e5m2, for scales of blocks, and for a weight that is no code (`scale` null).
std::optional<HearthFormat> kept_format(const files::WeightEntry& entry,
                                        const files::StoredScale* scale);

// Some rows of codes, one after another. [rows, columns]
struct CodeRows {
  const std::byte* codes = nullptr;
  std::int64_t first = 0;  // row of the stored tensor, counted over all dimensions but the last
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

// Which rows of a placed matrix they become.
struct CodePlace {
  HearthMatrix matrix;
  std::int64_t first = 0;
  std::int64_t step = 1;
};

class StoredCodes {
 public:
  // Reads the scales. Errors: bad_model naming file and tensor when they cannot be read or are not
  // finite.
  static Result<StoredCodes> read(const files::WeightIndex& index, const files::WeightEntry& entry,
                                  const files::StoredScale& scale);

  // target[r, c] = code * scale. [rows, columns]
  void widen(const CodeRows& source, float* target) const;
  // Into a matrix of kept_format(), after hearth_pack_begin. false: a code is not a number.
  bool keep(const CodeRows& source, const CodePlace& place) const;

 private:
  float scale_of(std::int64_t row, std::int64_t column) const;

  DType dtype_ = DType::kF8E4M3;
  std::int64_t matrix_rows_ = 1;  // of each matrix that the tensor stacks
  std::int64_t block_rows_ = 0, block_columns_ = 0;
  std::int64_t blocks_down_ = 1, blocks_across_ = 1;  // of each matrix
  std::vector<float> scales_;
};

}  // namespace hearth::weights
