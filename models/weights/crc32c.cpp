#include "models/weights/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace hearth::weights {
namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78;  // reflected

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ ((value & 1) != 0 ? kPolynomial : 0);
    table[i] = value;
  }
  return table;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t by_instruction(std::uint32_t before,
                                                               const std::byte* bytes,
                                                               std::size_t count) {
  std::uint64_t value = ~before;
  for (; count >= 8; bytes += 8, count -= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes, sizeof word);
    value = _mm_crc32_u64(value, word);
  }
  for (; count > 0; ++bytes, --count)
    value = _mm_crc32_u8(static_cast<std::uint32_t>(value), std::to_integer<std::uint8_t>(*bytes));
  return ~static_cast<std::uint32_t>(value);
}
#endif

}  // namespace

std::uint32_t crc32c_by_table(std::uint32_t before, const std::byte* bytes, std::size_t count) {
  static constexpr std::array<std::uint32_t, 256> kTable = make_table();
  std::uint32_t value = ~before;
  for (std::size_t i = 0; i < count; ++i)
    value = value >> 8 ^ kTable[(value ^ std::to_integer<std::uint32_t>(bytes[i])) & 0xff];
  return ~value;
}

std::uint32_t crc32c(std::uint32_t before, const std::byte* bytes, std::size_t count) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return by_instruction(before, bytes, count);
#endif
  return crc32c_by_table(before, bytes, count);
}

}  // namespace hearth::weights
