// What messages.toml says of one field, and the table that holds it for every message.
//
// Any thread: constants only.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

namespace hearth::contract {

// Limits that hold for every body, whatever its message. A body that breaks one is refused before
// anything is allocated for it.
inline constexpr std::uint32_t kMaxDepth = 16;
inline constexpr std::uint32_t kMaxMapEntries = 256;
inline constexpr std::uint32_t kMaxArrayItems = 4096;
inline constexpr std::uint32_t kMaxStrBytes = 256 * 1024;
inline constexpr std::uint32_t kMaxBinBytes = 512 * 1024;

struct Rule {
  std::string_view name;
  bool required = true;
  bool is_bin = false;  // raw bytes; otherwise a std::string is UTF-8
  // Bounds of an integer or of each item of a list, beside those of its type.
  std::int64_t min_integer = std::numeric_limits<std::int64_t>::min();
  std::uint64_t max_integer = std::numeric_limits<std::uint64_t>::max();
  double min_real = std::numeric_limits<double>::lowest();
  double max_real = std::numeric_limits<double>::max();
  std::uint32_t max_items = kMaxArrayItems;
  std::uint32_t max_bytes = kMaxBinBytes;
  std::span<const std::string_view> choices = {};
};

// Specialised in fields.h for every struct and message: kName, kOpen (unknown keys are ignored) and
// each(message, visit), which calls visit(rule, member) for every field in order.
template <class Message>
struct Fields;

}  // namespace hearth::contract
