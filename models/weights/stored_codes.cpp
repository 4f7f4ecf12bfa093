#include "models/weights/stored_codes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "models/kernels/formats.h"
#include "models/weights/convert.h"

namespace hearth::weights {
namespace {

using Numbers = std::array<float, 256>;

// e5m2 is the upper half of f16.
float number_of(DType dtype, std::uint8_t code) {
  if (dtype == DType::kI8) return static_cast<float>(static_cast<std::int8_t>(code));
  if (dtype == DType::kF8E4M3) return kernels::e4m3_to_float(code);
  return kernels::f16_to_float(static_cast<std::uint16_t>(code << 8));
}

Numbers all_numbers(DType dtype) {
  Numbers numbers{};
  for (std::size_t code = 0; code < numbers.size(); ++code)
    numbers[code] = number_of(dtype, static_cast<std::uint8_t>(code));
  return numbers;
}

const Numbers& numbers_of(DType dtype) {
  static const Numbers kInt8 = all_numbers(DType::kI8), kE4M3 = all_numbers(DType::kF8E4M3),
                       kE5M2 = all_numbers(DType::kF8E5M2);
  return dtype == DType::kI8 ? kInt8 : dtype == DType::kF8E4M3 ? kE4M3 : kE5M2;
}

std::int64_t blocks(std::int64_t size, std::int64_t block) {
  return block == 0 ? 1 : (size + block - 1) / block;
}

bool keep_fp8(const std::uint8_t* codes, std::int64_t count, std::uint8_t* target) {
  std::memcpy(target, codes, static_cast<std::size_t>(count));
  return std::none_of(codes, codes + count,
                      [](std::uint8_t code) { return (code & 0x7f) == 0x7f; });
}

void keep_int8(const std::uint8_t* codes, const HearthMatrix& matrix, std::int64_t feature) {
  const std::int64_t groups = kernels::groups_of(matrix.in_features);
  auto* data = static_cast<std::uint8_t*>(const_cast<void*>(matrix.data));
  for (std::int64_t k = 0; k < groups * kernels::kGroup; k += 4) {
    std::uint8_t four[4];
    for (std::int64_t i = 0; i < 4; ++i)
      four[i] = k + i < matrix.in_features
                    ? static_cast<std::uint8_t>(codes[k + i] ^ 0x80)  // signed to offset
                    : static_cast<std::uint8_t>(kernels::kInt8Zero);
    std::memcpy(data + kernels::int8_place(groups, feature, k), four, sizeof four);
  }
}

}  // namespace

std::optional<HearthFormat> kept_format(const files::WeightEntry& entry,
                                        const files::StoredScale* scale) {
  if (scale == nullptr || !scale->is_by_row()) return std::nullopt;
  if (entry.dtype == DType::kF8E4M3) return HEARTH_FORMAT_FP8;
  if (entry.dtype == DType::kI8) return HEARTH_FORMAT_INT8;
  return std::nullopt;
}

Result<StoredCodes> StoredCodes::read(const files::WeightIndex& index,
                                      const files::WeightEntry& entry,
                                      const files::StoredScale& scale) {
  StoredCodes read;
  read.dtype_ = entry.dtype;
  read.scales_ = {1.0F};
  if (scale.entry == nullptr) return read;
  std::vector<std::byte> bytes(static_cast<std::size_t>(scale.entry->nbytes));
  CHECK_OK(index.read_tensor(*scale.entry, bytes));
  read.scales_.resize(bytes.size() / hearth::item_bytes(scale.entry->dtype));
  convert(scale.entry->dtype, bytes.data(), HEARTH_F32, read.scales_.data(), read.scales_.size());
  for (const float value : read.scales_)
    if (!std::isfinite(value))
      return fail(Code::kBadModel,
                  fmt::format("{}: tensor {} has a scale that is not finite.",
                              index.label_of(*scale.entry), scale.entry->stored_name));
  const std::size_t rank = entry.shape.size();
  read.matrix_rows_ = rank < 2 ? 1 : entry.shape[rank - 2];
  read.block_rows_ = scale.block_rows;
  read.block_columns_ = scale.block_columns;
  read.blocks_down_ = blocks(read.matrix_rows_, scale.block_rows);
  read.blocks_across_ = blocks(rank == 0 ? 1 : entry.shape.back(), scale.block_columns);
  return read;
}

float StoredCodes::scale_of(std::int64_t row, std::int64_t column) const {
  if (scales_.size() == 1) return scales_.front();
  const std::int64_t matrix = row / matrix_rows_, within = row % matrix_rows_;
  const std::int64_t down = block_rows_ == 0 ? 0 : within / block_rows_;
  const std::int64_t across = block_columns_ == 0 ? 0 : column / block_columns_;
  return scales_[static_cast<std::size_t>((matrix * blocks_down_ + down) * blocks_across_ +
                                          across)];
}

void StoredCodes::widen(const CodeRows& source, float* target) const {
  const Numbers& numbers = numbers_of(dtype_);
  const auto* codes = reinterpret_cast<const std::uint8_t*>(source.codes);
  const std::int64_t step = block_columns_ == 0 ? source.columns : block_columns_;
  for (std::int64_t row = 0; row < source.rows; ++row)
    for (std::int64_t first = 0; first < source.columns; first += step) {
      const float scale = scale_of(source.first + row, first);
      const std::int64_t begin = row * source.columns + first;
      const std::int64_t end = begin + std::min(step, source.columns - first);
      for (std::int64_t i = begin; i < end; ++i) target[i] = numbers[codes[i]] * scale;
    }
}

bool StoredCodes::keep(const CodeRows& source, const CodePlace& place) const {
  const auto* codes = reinterpret_cast<const std::uint8_t*>(source.codes);
  auto* scales = static_cast<float*>(const_cast<void*>(place.matrix.scales));
  auto* data = static_cast<std::uint8_t*>(const_cast<void*>(place.matrix.data));
  bool all_numbers = true;
  for (std::int64_t row = 0; row < source.rows; ++row) {
    const std::int64_t feature = place.first + row * place.step;
    const std::uint8_t* from = codes + row * source.columns;
    scales[feature] = scale_of(source.first + row, 0);
    if (dtype_ == DType::kI8)
      keep_int8(from, place.matrix, feature);
    else
      all_numbers &= keep_fp8(from, source.columns, data + feature * source.columns);
  }
  return all_numbers;
}

}  // namespace hearth::weights
