#include "models/grammar/regex_classes.h"

#include <charconv>

#include <fmt/format.h>

#include "models/grammar/regex.h"

namespace hearth::grammar {
namespace {

const CodePoints kDigits{{'0', '9'}};
const CodePoints kWord{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
// ECMAScript's WhiteSpace and LineTerminator.
const CodePoints kSpace{{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                        {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                        {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
const CodePoints kLineEnds{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// \d and its like; empty for another letter.
CodePoints shorthand(char letter) {
  switch (letter) {
    case 'd':
      return kDigits;
    case 'D':
      return kDigits.complement();
    case 'w':
      return kWord;
    case 'W':
      return kWord.complement();
    case 's':
      return kSpace;
    case 'S':
      return kSpace.complement();
    default:
      return {};
  }
}

// What a letter after a backslash would ask for, where this dialect lacks it.
std::string_view feature_of(char letter) {
  switch (letter) {
    case 'b':
    case 'B':
      return "a word boundary (\\b, \\B)";
    case 'p':
    case 'P':
      return "a Unicode property (\\p{…})";
    case 'k':
    case 'g':
      return "a back reference (\\k, \\g)";
    case 'A':
    case 'Z':
    case 'z':
    case 'G':
      return "the anchors \\A, \\Z, \\z, \\G";
    case 'Q':
    case 'E':
      return "quoting with \\Q…\\E";
    case 'X':
    case 'R':
    case 'N':
    case 'h':
    case 'H':
    case 'V':
    case 'K':
    case 'C':
      return "PCRE's \\X, \\R, \\N, \\h, \\H, \\V, \\K, \\C";
    default:
      return {};
  }
}

char control_of(char letter) {
  switch (letter) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    default:
      return 0;
  }
}

CodePoints single(char32_t point) {
  return {{point, point}};
}

}  // namespace

bool RegexReader::take(std::string_view text) {
  if (!sees(text)) return false;
  position_ += text.size();
  return true;
}

Error RegexReader::syntax(std::string_view problem) const {
  return fail(Code::kBadRequest,
              fmt::format("The regular expression has {} at byte {}.", problem, position_));
}

Error RegexReader::missing(std::string_view feature) const {
  return fail(Code::kUnsupported,
              fmt::format("The regular expression uses {} at byte {}, which is not supported.",
                          feature, position_),
              "Supported are literals, classes, groups, alternatives, quantifiers, and ^ and $ at "
              "the ends.");
}

Result<bool> RegexReader::take_number(std::uint32_t& value) {
  const std::string_view rest = pattern_.substr(position_);
  if (rest.empty() || !is_digit(rest[0])) return false;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (error != std::errc() || value > kMaxRepeats)
    return syntax(fmt::format("a repetition over {}", kMaxRepeats));
  position_ += static_cast<std::size_t>(end - rest.data());
  return true;
}

Result<CodePoints> RegexReader::take_character() {
  if (take("[")) return take_class();
  if (take("\\")) return take_escape(false);
  if (take(".")) return kLineEnds.complement();
  char32_t point = 0;
  if (!next_code_point(pattern_, position_, point)) return syntax("bytes that are not UTF-8");
  return single(point);
}

Result<CodePoints> RegexReader::take_class() {
  const bool negated = take("^");
  if (sees("]")) return syntax("an empty class (write \\] for a bracket)");
  CodePoints members;
  while (!take("]")) {
    if (at_end()) return syntax("a class without its ]");
    if (sees("[:") || sees("[.") || sees("[=")) return missing("a POSIX class ([:alpha:])");
    if (sees("&&") || sees("--") || sees("~~")) return missing("set operations in a class");
    TRY(const auto first, take_class_part());
    const bool range = sees("-") && !sees("-]");
    if (!range) {
      members.add(first);
      continue;
    }
    take("-");
    if (at_end()) return syntax("a class without its ]");
    TRY(const auto last, take_class_part());
    const auto alone = [](const CodePoints& points) {
      return points.ranges().size() == 1 && points.ranges()[0].first == points.ranges()[0].last;
    };
    if (!alone(first) || !alone(last)) return syntax("a range between more than two characters");
    if (last < first) return syntax("a range whose end is before its beginning");
    members.add(first.ranges()[0].first, last.ranges()[0].first);
  }
  return negated ? members.complement() : members;
}

Result<CodePoints> RegexReader::take_class_part() {
  if (take("\\")) return take_escape(true);
  char32_t point = 0;
  if (!next_code_point(pattern_, position_, point)) return syntax("bytes that are not UTF-8");
  return single(point);
}

Result<CodePoints> RegexReader::take_escape(bool in_class) {
  if (at_end()) return syntax("a backslash with nothing after it");
  const char letter = peek();
  if (auto points = shorthand(letter); !points.empty()) {
    ++position_;
    return points;
  }
  if (const char control = control_of(letter)) {
    ++position_;
    return single(static_cast<char32_t>(control));
  }
  if (in_class && take("b")) return single('\b');
  if (take("x")) return take_hexadecimal(2);
  if (take("u")) return take_unicode();
  if (letter >= '1' && letter <= '9') return missing("a back reference");
  if (take("0")) {
    if (!at_end() && is_digit(peek())) return missing("an octal escape");
    return single(0);
  }
  if (const auto feature = feature_of(letter); !feature.empty()) return missing(feature);
  if (is_letter(letter)) return missing(fmt::format("the escape \\{}", letter));
  char32_t point = 0;
  if (!next_code_point(pattern_, position_, point)) return syntax("bytes that are not UTF-8");
  return single(point);
}

Result<CodePoints> RegexReader::take_hexadecimal(std::size_t digits) {
  const std::string_view text = pattern_.substr(position_, digits);
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (text.size() != digits || !whole || single(value).empty() || value > kLastCodePoint)
    return syntax(fmt::format("no character in {} hexadecimal digits", digits));
  position_ += digits;
  return single(value);
}

// \u00E9, \u{1F600}, or a surrogate pair \uD83D\uDE00.
Result<CodePoints> RegexReader::take_unicode() {
  if (take("{")) {
    const auto close = pattern_.find('}', position_);
    const auto digits = close == std::string_view::npos ? 0 : close - position_;
    if (digits == 0 || digits > 6) return syntax("no character in \\u{…}");
    TRY(auto points, take_hexadecimal(digits));
    take("}");
    return points;
  }
  const auto unit = [&](std::size_t at) {
    const std::string_view text = pattern_.substr(std::min(at, pattern_.size()), 4);
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    return error == std::errc() && end == text.data() + 4 ? value : 0;
  };
  const auto high = unit(position_), low = unit(position_ + 6);
  const bool pair = high >= 0xD800 && high <= 0xDBFF && low >= 0xDC00 && low <= 0xDFFF &&
                    pattern_.substr(position_ + 4, 2) == "\\u";
  if (!pair) return take_hexadecimal(4);
  position_ += 10;
  return single(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
}

}  // namespace hearth::grammar
