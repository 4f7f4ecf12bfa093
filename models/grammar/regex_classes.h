// The part of a regular expression that stands for one character. Internal to grammar/.
//
// One thread; looks at the pattern it was given.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "models/grammar/code_points.h"
#include "shm/base/result.h"

namespace hearth::grammar {

// Reads a pattern from its beginning to its end.
class RegexReader {
 public:
  explicit RegexReader(std::string_view pattern) : pattern_(pattern) {}

  bool at_end() const { return position_ == pattern_.size(); }
  bool sees(std::string_view text) const { return pattern_.substr(position_).starts_with(text); }
  bool take(std::string_view text);
  char peek() const { return pattern_[position_]; }
  // A decimal number; empty (no digits) is false, too large is an error.
  Result<bool> take_number(std::uint32_t& value);

  // [a-z], \d, \n, . or a character of its own; not at the end. Errors: as in regex.h.
  Result<CodePoints> take_character();

  Error syntax(std::string_view problem) const;   // bad_request
  Error missing(std::string_view feature) const;  // unsupported

 private:
  Result<CodePoints> take_class();
  Result<CodePoints> take_class_part();
  Result<CodePoints> take_escape(bool in_class);
  Result<CodePoints> take_hexadecimal(std::size_t digits);
  Result<CodePoints> take_unicode();

  std::string_view pattern_;
  std::size_t position_ = 0;
};

}  // namespace hearth::grammar
