#include "models/generate/hidden_states.h"

#include <cstring>

#include <fmt/format.h>

namespace hearth::generate {
namespace {

// Whether none of the floats has all its exponent's bits set: integers vectorise, a test for NaN
// would not.
template <class Bits>
bool exponents_below(std::span<const std::byte> bytes, Bits exponent) {
  unsigned found = 0;
  for (std::size_t at = 0; at + sizeof(Bits) <= bytes.size(); at += sizeof(Bits)) {
    Bits bits = 0;
    std::memcpy(&bits, bytes.data() + at, sizeof bits);
    found |= static_cast<unsigned>((bits & exponent) == exponent);
  }
  return found == 0;
}

bool all_finite(std::span<const std::byte> bytes, DType dtype) {
  if (dtype == DType::kF16) return exponents_below<std::uint16_t>(bytes, 0x7C00);
  if (dtype == DType::kBF16) return exponents_below<std::uint16_t>(bytes, 0x7F80);
  return exponents_below<std::uint32_t>(bytes, 0x7F800000);
}

}  // namespace

HiddenStates::HiddenStates(const Taps& taps, std::int32_t tokens)
    : taps_(taps),
      tokens_(tokens),
      row_bytes_(static_cast<std::size_t>(taps.width) * item_bytes(taps.dtype)),
      rows_(taps.states.size()) {
  // Not zeroed: every byte is written before anybody reads it.
  for (std::size_t i = 0; i < taps.states.size(); ++i)
    memory_.emplace_back(new std::byte[row_bytes_ * static_cast<std::size_t>(tokens)]);
}

std::span<const std::span<std::byte>> HiddenStates::rows(std::int32_t first, std::int32_t count) {
  for (std::size_t i = 0; i < rows_.size(); ++i)
    rows_[i] = {memory_[i].get() + row_bytes_ * static_cast<std::size_t>(first),
                row_bytes_ * static_cast<std::size_t>(count)};
  return rows_;
}

Result<void> HiddenStates::check_rows() const {
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (all_finite(rows_[i], taps_.dtype)) continue;
    const bool narrow = taps_.dtype == DType::kF16;
    return fail(
        Code::kNotFinite,
        fmt::format("Hidden state {} is not finite in {}.", taps_.states[i], name_of(taps_.dtype)),
        narrow ? "Ask for f32 or bf16: f16 ends at 65504." : "");
  }
  return {};
}

std::vector<models::HostTensor> HiddenStates::finish() && {
  std::vector<models::HostTensor> tensors;
  for (const auto& memory : memory_)
    tensors.push_back({taps_.dtype,
                       {tokens_, taps_.width},
                       {memory.get(), row_bytes_ * static_cast<std::size_t>(tokens_)},
                       memory});
  return tensors;
}

}  // namespace hearth::generate
