// Numbers, sizes and durations as people write them, and back. Usable at compile time: the table's
// defaults are read by the same functions as files.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace hearth::config {

struct Unit {
  std::string_view word;
  std::int64_t factor;
};

// Bytes. Powers of two, whichever way they are written: 8G, 8GB and 8GiB are the same.
inline constexpr Unit kSizes[] = {{"TIB", 1ll << 40}, {"GIB", 1ll << 30},
                                  {"MIB", 1ll << 20}, {"KIB", 1ll << 10},
                                  {"TB", 1ll << 40},  {"GB", 1ll << 30},
                                  {"MB", 1ll << 20},  {"KB", 1ll << 10},
                                  {"T", 1ll << 40},   {"G", 1ll << 30},
                                  {"M", 1ll << 20},   {"K", 1ll << 10},
                                  {"B", 1},           {"", 1}};
// Milliseconds; a bare number counts seconds.
inline constexpr Unit kDurations[] = {{"MS", 1},       {"MIN", 60'000}, {"D", 86'400'000},
                                      {"H", 3600'000}, {"M", 60'000},   {"S", 1000},
                                      {"", 1000}};

constexpr char upper(char letter) {
  return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
}

constexpr bool is_digit(char letter) {
  return letter >= '0' && letter <= '9';
}

constexpr bool is_same_word(std::string_view text, std::string_view upper_word) {
  if (text.size() != upper_word.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (upper(text[i]) != upper_word[i]) return false;
  return true;
}

// A whole number, with a minus sign or without.
constexpr std::optional<std::int64_t> read_integer(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (text.empty() || text.size() > 18) return std::nullopt;
  std::int64_t value = 0;
  for (const char letter : text) {
    if (!is_digit(letter)) return std::nullopt;
    value = 10 * value + (letter - '0');
  }
  return negative ? -value : value;
}

// A number that is not negative, with decimals or without, and a unit: 1.5GiB, 200ms, 30 s. What
// decimals leave below one is cut off.
template <std::size_t N>
constexpr std::optional<std::int64_t> read_amount(std::string_view text, const Unit (&units)[N]) {
  std::int64_t digits = 0;
  std::int64_t scale = 1;
  std::size_t at = 0;
  bool fraction = false;
  for (; at < text.size() && (is_digit(text[at]) || (text[at] == '.' && !fraction)); ++at) {
    if (at > 15) return std::nullopt;
    if (text[at] == '.') {
      fraction = true;
      continue;
    }
    digits = 10 * digits + (text[at] - '0');
    if (fraction) scale *= 10;
  }
  if (at == 0 || text[at - 1] == '.' || text[0] == '.') return std::nullopt;
  while (at < text.size() && text[at] == ' ') ++at;
  for (const Unit& unit : units) {
    if (!is_same_word(text.substr(at), unit.word)) continue;
    if (digits > std::numeric_limits<std::int64_t>::max() / unit.factor) return std::nullopt;
    return digits * unit.factor / scale;
  }
  return std::nullopt;
}

constexpr std::optional<std::int64_t> read_size(std::string_view text) {
  return read_amount(text, kSizes);
}

constexpr std::optional<std::int64_t> read_duration(std::string_view text) {
  return read_amount(text, kDurations);
}

// In the largest unit that leaves no rest: 1536MiB, 1500ms, 0s.
std::string size_text(std::int64_t bytes);
std::string duration_text(std::int64_t milliseconds);

}  // namespace hearth::config
