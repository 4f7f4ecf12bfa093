// Sets of Unicode scalar values: what a character class of a regular expression means.
//
// A value type; one thread an object.
#pragma once

#include <string>
#include <vector>

namespace hearth::grammar {

inline constexpr char32_t kLastCodePoint = 0x10FFFF;

struct CodePointRange {
  char32_t first = 0, last = 0;  // both included
  friend auto operator<=>(const CodePointRange&, const CodePointRange&) = default;
};

// Sorted, disjoint, not touching. Surrogates are never members: UTF-8 cannot write them.
class CodePoints {
 public:
  CodePoints() = default;
  CodePoints(std::initializer_list<CodePointRange> ranges);
  static CodePoints all();

  void add(char32_t first, char32_t last);
  void add(const CodePoints& other);
  CodePoints complement() const;
  CodePoints without(const CodePoints& other) const;

  bool empty() const { return ranges_.empty(); }
  bool contains(char32_t point) const;
  const std::vector<CodePointRange>& ranges() const { return ranges_; }

  friend auto operator<=>(const CodePoints&, const CodePoints&) = default;

 private:
  std::vector<CodePointRange> ranges_;
};

// What can stand inside a JSON string as it is: no quote, no backslash, no control character.
const CodePoints& plain_in_json();

// One scalar value as UTF-8.
std::string utf8_of(char32_t point);

// The scalar value at `position` of `text`, which is moved past it. False when the bytes there are
// no well-formed UTF-8 (table 3-7 of the Unicode standard).
bool next_code_point(std::string_view text, std::size_t& position, char32_t& point);

}  // namespace hearth::grammar
