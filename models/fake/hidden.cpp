#include "models/fake/hidden.h"

#include <bit>
#include <cstring>
#include <limits>

namespace hearth::fake {
namespace {

// The upper half of an fp32, rounded to nearest, ties to even.
std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

// Of 0 and of values from 2^-14 on, which are all there are. Infinite from 65520 on.
std::uint16_t to_f16(float value) {
  if (value == 0.0F) return 0;
  if (!(value < 65520.0F)) return 0x7C00;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value) - (112U << 23);
  return static_cast<std::uint16_t>((bits + 0xFFFU + (bits >> 13 & 1U)) >> 13);
}

void store(std::byte* at, DType dtype, float value) {
  if (dtype == DType::kF32) {
    std::memcpy(at, &value, sizeof value);
    return;
  }
  const std::uint16_t bits = dtype == DType::kF16 ? to_f16(value) : to_bf16(value);
  std::memcpy(at, &bits, sizeof bits);
}

}  // namespace

void write_hidden(const Prompt& prompt, const generate::Chunk& chunk, Fault fault) {
  const generate::Taps& taps = *prompt.taps;
  const std::size_t step = item_bytes(taps.dtype);
  const bool spoilt = fault == Fault::kNan || fault == Fault::kInfinite;
  for (std::size_t i = 0; i < taps.states.size(); ++i) {
    std::byte* at = chunk.hidden[i].data();
    for (std::int32_t row = 0; row < chunk.count; ++row) {
      const std::int32_t id = prompt.ids[static_cast<std::size_t>(chunk.first + row)];
      const auto start = static_cast<float>(taps.states[i] * 1000 + id);
      for (std::int64_t column = 0; column < taps.width; ++column, at += step)
        store(at, taps.dtype, start + static_cast<float>(column) / 1024.0F);
    }
    if (spoilt) store(at - step, taps.dtype, std::numeric_limits<float>::infinity());
  }
}

}  // namespace hearth::fake
