#include "models/text/bytes.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include <utf8proc.h>

#include "models/text/tokenizer.h"

namespace hearth::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr int kMaxCombiningRun = 1024;

std::uint8_t byte_at(std::string_view text, std::size_t position) {
  return static_cast<std::uint8_t>(text[position]);
}

// What may follow a lead byte: how many bytes in all, and the range of the second (Unicode 15,
// table 3-7). bytes == 0: no character begins so.
struct Lead {
  std::size_t bytes = 0;
  std::uint8_t second_min = 0x80;
  std::uint8_t second_max = 0xBF;
};

Lead lead_of(std::uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte >= 0xC2 && byte <= 0xDF) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {};
}

// The longest part from `begin` that a character could begin with, and whether it is one.
struct Part {
  std::size_t bytes = 1;
  bool whole = false;
};

Part part_at(std::string_view text, std::size_t begin) {
  const auto lead = lead_of(byte_at(text, begin));
  if (lead.bytes == 0) return {};
  for (std::size_t i = 1; i < lead.bytes; ++i) {
    if (begin + i >= text.size()) return {i, false};
    const auto byte = byte_at(text, begin + i);
    const auto min = i == 1 ? lead.second_min : 0x80;
    const auto max = i == 1 ? lead.second_max : 0xBF;
    if (byte < min || byte > max) return {i, false};
  }
  return {lead.bytes, true};
}

std::string utf8_of(char32_t value) {
  utf8proc_uint8_t raw[4];
  const auto bytes = utf8proc_encode_char(static_cast<utf8proc_int32_t>(value), raw);
  return std::string(reinterpret_cast<const char*>(raw), static_cast<std::size_t>(bytes));
}

bool is_printable_byte(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// Code point by which a byte is written: itself where it is printable, else from U+0100 on.
const std::array<char32_t, 256>& written_code_points() {
  static const auto table = [] {
    std::array<char32_t, 256> result{};
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte)
      result[byte] = is_printable_byte(byte) ? static_cast<char32_t>(byte) : next++;
    return result;
  }();
  return table;
}

constexpr char32_t kAlphabetEnd = 0x100 + 68;  // 68 bytes are not printable

const std::array<std::int16_t, kAlphabetEnd>& bytes_by_code_point() {
  static const auto table = [] {
    std::array<std::int16_t, kAlphabetEnd> result{};
    result.fill(-1);
    for (int byte = 0; byte < 256; ++byte)
      result[written_code_points()[byte]] = static_cast<std::int16_t>(byte);
    return result;
  }();
  return table;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

bool has_endless_combining_run(std::string_view text) {
  int run = 0;
  for (std::size_t i = 0; i < text.size();) {
    const auto point = code_point_at(text, i);
    i += point.bytes;
    const auto* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(point.value));
    run = property->combining_class == 0 ? 0 : run + 1;
    if (run > kMaxCombiningRun) return true;
  }
  return false;
}

}  // namespace

std::string valid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto part = part_at(text, i);
    result += part.whole ? text.substr(i, part.bytes) : kReplacement;
    i += part.bytes;
  }
  return result;
}

CodePoint code_point_at(std::string_view well_formed, std::size_t position) {
  utf8proc_int32_t value = 0;
  const auto bytes =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(well_formed.data() + position),
                       static_cast<utf8proc_ssize_t>(well_formed.size() - position), &value);
  if (bytes <= 0) return {0xFFFD, 1};
  return {static_cast<char32_t>(value), static_cast<std::size_t>(bytes)};
}

const std::array<std::string, 256>& byte_alphabet() {
  static const auto table = [] {
    std::array<std::string, 256> result;
    for (int byte = 0; byte < 256; ++byte) result[byte] = utf8_of(written_code_points()[byte]);
    return result;
  }();
  return table;
}

std::optional<std::string> bytes_of_written(std::string_view written) {
  std::string result;
  for (std::size_t i = 0; i < written.size();) {
    const auto point = code_point_at(written, i);
    if (point.value >= kAlphabetEnd || bytes_by_code_point()[point.value] < 0) return std::nullopt;
    result += static_cast<char>(bytes_by_code_point()[point.value]);
    i += point.bytes;
  }
  return result;
}

std::optional<std::string> normal_form_c(std::string_view well_formed) {
  if (is_ascii(well_formed)) return std::string(well_formed);
  if (has_endless_combining_run(well_formed)) return std::nullopt;
  utf8proc_uint8_t* composed = nullptr;
  const auto bytes =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(well_formed.data()),
                   static_cast<utf8proc_ssize_t>(well_formed.size()), &composed,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (bytes < 0) return std::nullopt;
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(composed, &std::free);
  return std::string(reinterpret_cast<const char*>(composed), static_cast<std::size_t>(bytes));
}

}  // namespace hearth::text
