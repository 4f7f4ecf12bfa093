// Regular expressions as grammars.
//
// The dialect is what ECMAScript, PCRE and Python have in common and a finite automaton can do:
// literals, classes, groups, alternatives, greedy and lazy quantifiers (which match the same
// texts), anchors at the two ends. What needs more (back references, look-around, word boundaries,
// Unicode properties, inline flags, possessive quantifiers) is refused by name: unsupported. . is
// any character but line ends; \d and \w are ASCII, \s is ECMAScript's white space.
//
// Pure functions; any thread.
#pragma once

#include <string_view>

#include "models/grammar/expressions.h"
#include "shm/base/result.h"

namespace hearth::grammar {

inline constexpr std::size_t kMaxRegexBytes = std::size_t{16} << 10;
inline constexpr std::size_t kMaxRegexDepth = 100;       // groups in groups
inline constexpr std::uint32_t kMaxRepeats = 1'000'000;  // the largest number in {…}

struct RegexUse {
  bool in_json = false;  // characters are written as in a JSON string, without its quotes
  bool search = false;   // matches anywhere unless ^ and $ say otherwise, as JSON schema's pattern
};

// Adds `pattern`, UTF-8. Errors: bad_request for what is no regular expression (with the byte
// position), unsupported for what this dialect lacks.
Result<ExpressionId> add_regex(Expressions& into, std::string_view pattern, RegexUse use);

}  // namespace hearth::grammar
