#include "models/weights/convert.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <cstring>

#include "models/kernels/bfloat16.h"

namespace hearth::weights {
namespace {

using kernels::BFloat16;
using kernels::store;
using kernels::to_float;

struct Float16 {
  std::uint16_t bits;
};

// Shifted into an f32's place, the exponent is 112 too small, which one exact product repairs, for
// subnormal numbers too.
inline float to_float(Float16 value) {
  const std::uint32_t magnitude = std::uint32_t{value.bits & 0x7fffu} << 13;
  float scaled;
  std::memcpy(&scaled, &magnitude, sizeof scaled);
  scaled *= 0x1p112F;
  std::uint32_t bits;
  std::memcpy(&bits, &scaled, sizeof bits);
  const bool is_special = (value.bits & 0x7c00u) == 0x7c00u;  // infinity, NaN
  bits |= is_special ? 0x7f800000u : 0u;
  bits |= std::uint32_t{value.bits & 0x8000u} << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

template <class From, class To>
void convert_all(const std::byte* source, To* __restrict target, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, source + i * sizeof value, sizeof value);
    store(target + i, to_float(value));
  }
}

template <class From>
void convert_from(const std::byte* source, HearthType to, void* target, std::size_t count) {
  if (to == HEARTH_F32) {
    convert_all<From>(source, static_cast<float*>(target), count);
  } else {
    convert_all<From>(source, static_cast<BFloat16*>(target), count);
  }
}

// In blocks whose source and target stay in the first cache.
template <class Item>
void transpose_items(const std::byte* source, std::size_t stride_bytes, const Items& target) {
  constexpr std::size_t kBlock = 32;
  for (std::size_t column = 0; column < target.columns; column += kBlock) {
    const std::size_t end = std::min(column + kBlock, target.columns);
    for (std::size_t row = 0; row < target.rows; ++row) {
      auto* to = reinterpret_cast<Item*>(target.first) + row * target.columns;
      for (std::size_t c = column; c < end; ++c)
        std::memcpy(to + c, source + c * stride_bytes + row * sizeof(Item), sizeof(Item));
    }
  }
}

}  // namespace

void transpose(std::size_t item_bytes, const std::byte* source, std::size_t stride_bytes,
               const Items& target) {
  assert(item_bytes == 1 || item_bytes == 2 || item_bytes == 4);
  if (item_bytes == 1) return transpose_items<std::uint8_t>(source, stride_bytes, target);
  item_bytes == 2 ? transpose_items<std::uint16_t>(source, stride_bytes, target)
                  : transpose_items<std::uint32_t>(source, stride_bytes, target);
}

void convert(DType from, const std::byte* source, HearthType to, void* target, std::size_t count) {
  switch (from) {
    case DType::kF16:
      return convert_from<Float16>(source, to, target, count);
    case DType::kBF16:
      return convert_from<BFloat16>(source, to, target, count);
    default:
      assert(from == DType::kF32);
      return convert_from<float>(source, to, target, count);
  }
}

}  // namespace hearth::weights
