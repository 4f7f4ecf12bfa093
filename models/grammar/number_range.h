// JSON numbers between two bounds, as a grammar over their decimal digits.
//
// Pure functions; any thread.
#pragma once

#include <optional>
#include <string>

#include "models/grammar/expressions.h"
#include "shm/base/result.h"

namespace hearth::grammar {

// What a number is written with, at most.
inline constexpr std::uint32_t kIntegerDigits = 18;
inline constexpr std::uint32_t kFractionDigits = 18;

// A bound, exactly as its decimal digits say.
struct NumberBound {
  bool negative = false;
  std::string integer = "0";  // no leading zeros
  std::string fraction;       // no trailing zeros
  bool excluded = false;
};

// -12.50 in plain decimal digits, no exponent.
NumberBound number_bound(std::string_view decimal, bool excluded);

struct NumberRange {
  std::optional<NumberBound> least, most;
  bool fractions = true;  // false: integers only
};

// Adds the numbers of the range; without bounds and with fractions, exponents of two digits as
// well. A range with no numbers in it is never(). Errors: unsupported for a bound with more digits
// than numbers are written with.
Result<ExpressionId> add_number(Expressions& into, const NumberRange& range);

}  // namespace hearth::grammar
