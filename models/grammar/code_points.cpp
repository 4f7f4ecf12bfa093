#include "models/grammar/code_points.h"

#include <algorithm>
#include <string_view>

namespace hearth::grammar {
namespace {

constexpr char32_t kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;

// Bytes of the UTF-8 sequence that this byte begins; 0 when it begins none.
std::size_t sequence_bytes(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

}  // namespace

CodePoints::CodePoints(std::initializer_list<CodePointRange> ranges) {
  for (const auto& range : ranges) add(range.first, range.last);
}

CodePoints CodePoints::all() {
  return {{0, kLastCodePoint}};
}

void CodePoints::add(char32_t first, char32_t last) {
  if (first < kFirstSurrogate && last > kLastSurrogate) {
    add(first, kFirstSurrogate - 1);
    return add(kLastSurrogate + 1, last);
  }
  if (first >= kFirstSurrogate && first <= kLastSurrogate) first = kLastSurrogate + 1;
  if (last >= kFirstSurrogate && last <= kLastSurrogate) last = kFirstSurrogate - 1;
  if (first > last) return;
  // The ranges that overlap or touch [first, last] become one with it.
  auto begin = std::find_if(ranges_.begin(), ranges_.end(),
                            [&](const auto& range) { return range.last + 1 >= first; });
  auto end = begin;
  for (; end != ranges_.end() && end->first <= last + 1; ++end) {
    first = std::min(first, end->first);
    last = std::max(last, end->last);
  }
  ranges_.insert(ranges_.erase(begin, end), {first, last});
}

void CodePoints::add(const CodePoints& other) {
  for (const auto& range : other.ranges_) add(range.first, range.last);
}

CodePoints CodePoints::complement() const {
  CodePoints rest;
  char32_t next = 0;
  for (const auto& range : ranges_) {
    if (range.first > next) rest.add(next, range.first - 1);
    next = range.last + 1;
  }
  if (next <= kLastCodePoint) rest.add(next, kLastCodePoint);
  return rest;
}

CodePoints CodePoints::without(const CodePoints& other) const {
  CodePoints rest = complement();
  rest.add(other);
  return rest.complement();
}

bool CodePoints::contains(char32_t point) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const auto& range) {
    return range.first <= point && point <= range.last;
  });
}

const CodePoints& plain_in_json() {
  static const CodePoints plain =
      CodePoints{{0x20, kLastCodePoint}}.without({{'"', '"'}, {'\\', '\\'}});
  return plain;
}

std::string utf8_of(char32_t point) {
  const auto byte = [](char32_t value) { return static_cast<char>(value); };
  const auto tail = [&](int shift) { return byte(0x80 | (point >> shift & 0x3F)); };
  if (point < 0x80) return {byte(point)};
  if (point < 0x800) return {byte(0xC0 | point >> 6), tail(0)};
  if (point < 0x10000) return {byte(0xE0 | point >> 12), tail(6), tail(0)};
  return {byte(0xF0 | point >> 18), tail(12), tail(6), tail(0)};
}

bool next_code_point(std::string_view text, std::size_t& position, char32_t& point) {
  const auto lead = static_cast<unsigned char>(text[position]);
  const std::size_t bytes = sequence_bytes(lead);
  if (bytes == 0 || bytes > text.size() - position) return false;
  point = bytes == 1 ? lead : lead & (0x7F >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    const auto byte = static_cast<unsigned char>(text[position + i]);
    if ((byte & 0xC0) != 0x80) return false;
    point = point << 6 | (byte & 0x3F);
  }
  const bool overlong = (bytes == 3 && point < 0x800) || (bytes == 4 && point < 0x10000);
  const bool surrogate = point >= kFirstSurrogate && point <= kLastSurrogate;
  if (overlong || surrogate || point > kLastCodePoint) return false;
  position += bytes;
  return true;
}

}  // namespace hearth::grammar
