#include "models/grammar/number_range.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace hearth::grammar {
namespace {

// A bound on what is still to be written: null once the digits before have settled it.
using Tight = const NumberBound*;

int digit_at(const std::string& digits, std::size_t place) {
  return place < digits.size() ? digits[place] - '0' : 0;
}

// Numbers without a sign between two bounds of which the upper one may be missing.
class Magnitudes {
 public:
  Magnitudes(Expressions& into, bool fractions) : into_(into), fractions_(fractions) {}

  ExpressionId between(Tight low, Tight high) {
    std::vector<ExpressionId> choices;
    const std::size_t shortest = low->integer.size();
    const std::size_t longest = high ? high->integer.size() : kIntegerDigits;
    for (std::size_t length = shortest; length <= longest; ++length)
      choices.push_back(integer(0, length, length == shortest ? low : nullptr,
                                high && length == longest ? high : nullptr));
    return into_.choice(choices);
  }

  ExpressionId digits(int first, int last, std::uint32_t min, std::uint32_t max) {
    const auto code = [](int digit) { return static_cast<char32_t>('0' + digit); };
    return into_.repeated(into_.add_machine(Machine::one_of({{code(first), code(last)}})), min,
                          max);
  }

 private:
  // The digits from `place` on of an integer part of `length` digits, and what follows it.
  ExpressionId integer(std::size_t place, std::size_t length, Tight low, Tight high);
  ExpressionId fraction(Tight low, Tight high);
  // The digits from `place` on after the point.
  ExpressionId fraction_digits(std::size_t place, Tight low, Tight high);
  bool may_end(std::size_t fraction_digits, Tight low, Tight high) const;

  // One digit between those of the bounds, then `rest(low, high)` with the bounds that remain.
  template <class Rest>
  ExpressionId digit(int lowest, int highest, Tight low, Tight high, Rest rest);

  Expressions& into_;
  bool fractions_;
};

template <class Rest>
ExpressionId Magnitudes::digit(int lowest, int highest, Tight low, Tight high, Rest rest) {
  if (lowest > highest) return into_.never();
  const auto exactly = [&](int digit, Tight still_low, Tight still_high) {
    return into_.sequence({digits(digit, digit, 1, 1), rest(still_low, still_high)});
  };
  if (low && high && lowest == highest) return exactly(lowest, low, high);
  std::vector<ExpressionId> choices;
  if (low) choices.push_back(exactly(lowest++, low, nullptr));
  if (high) choices.push_back(exactly(highest--, nullptr, high));
  if (lowest <= highest)
    choices.push_back(into_.sequence({digits(lowest, highest, 1, 1), rest(nullptr, nullptr)}));
  return into_.choice(choices);
}

ExpressionId Magnitudes::integer(std::size_t place, std::size_t length, Tight low, Tight high) {
  if (place == length) return fraction(low, high);
  const int smallest = place == 0 && length > 1 ? 1 : 0;
  if (!low && !high && place > 0) {
    const auto left = static_cast<std::uint32_t>(length - place);
    return into_.sequence({digits(0, 9, left, left), fraction(nullptr, nullptr)});
  }
  return digit(low ? digit_at(low->integer, place) : smallest,
               high ? digit_at(high->integer, place) : 9, low, high,
               [&](Tight still_low, Tight still_high) {
                 return integer(place + 1, length, still_low, still_high);
               });
}

ExpressionId Magnitudes::fraction(Tight low, Tight high) {
  const ExpressionId none = may_end(0, low, high) ? into_.nothing() : into_.never();
  if (!fractions_) return none;
  return into_.choice({none, into_.sequence({into_.literal("."), fraction_digits(0, low, high)})});
}

ExpressionId Magnitudes::fraction_digits(std::size_t place, Tight low, Tight high) {
  const bool may_stop = place > 0 && may_end(place, low, high);
  const auto left = static_cast<std::uint32_t>(kFractionDigits - place);
  if (!low && !high) return digits(0, 9, may_stop ? 0 : 1, left);
  const ExpressionId stop = may_stop ? into_.nothing() : into_.never();
  if (left == 0) return stop;
  const ExpressionId go_on =
      digit(low ? digit_at(low->fraction, place) : 0, high ? digit_at(high->fraction, place) : 9,
            low, high, [&](Tight still_low, Tight still_high) {
              return fraction_digits(place + 1, still_low, still_high);
            });
  return into_.choice({stop, go_on});
}

// Whether a number that agrees with its bounds so far lies between them when it ends here.
bool Magnitudes::may_end(std::size_t fraction_digits, Tight low, Tight high) const {
  const bool over_low = !low || (fraction_digits >= low->fraction.size() && !low->excluded);
  const bool under_high = !high || fraction_digits < high->fraction.size() || !high->excluded;
  return over_low && under_high;
}

bool is_zero(const NumberBound& bound) {
  return bound.integer == "0" && bound.fraction.empty();
}

ExpressionId unbounded(Expressions& into, bool fractions) {
  Magnitudes magnitudes(into, fractions);
  const auto optional = [&](ExpressionId part) { return into.choice({into.nothing(), part}); };
  const auto sign = optional(into.literal("-"));
  const auto zero = into.literal("0");
  const auto other = into.sequence(
      {magnitudes.digits(1, 9, 1, 1), magnitudes.digits(0, 9, 0, kIntegerDigits - 1)});
  if (!fractions) return into.choice({zero, into.sequence({sign, other})});
  const auto fraction =
      into.sequence({into.literal("."), magnitudes.digits(0, 9, 1, kFractionDigits)});
  const auto exponent =
      into.sequence({into.one(Machine::one_of({{'e', 'e'}, {'E', 'E'}})),
                     optional(into.one(Machine::one_of({{'+', '+'}, {'-', '-'}}))),
                     magnitudes.digits(0, 9, 1, 2)});
  return into.sequence({sign, into.choice({zero, other}), optional(fraction), optional(exponent)});
}

Result<void> check_digits(const std::optional<NumberBound>& bound) {
  if (!bound ||
      (bound->integer.size() <= kIntegerDigits && bound->fraction.size() <= kFractionDigits))
    return {};
  return fail(
      Code::kUnsupported,
      fmt::format("A number is bounded by {}.{}; numbers are written with at most {} digits "
                  "before and {} after the point.",
                  bound->integer, bound->fraction, kIntegerDigits, kFractionDigits));
}

}  // namespace

NumberBound number_bound(std::string_view decimal, bool excluded) {
  NumberBound bound;
  bound.excluded = excluded;
  bound.negative = decimal.starts_with('-');
  decimal.remove_prefix(bound.negative ? 1 : 0);
  const auto point = std::min(decimal.find('.'), decimal.size());
  bound.integer = decimal.substr(0, point);
  bound.fraction = decimal.substr(std::min(point + 1, decimal.size()));
  bound.integer.erase(0, std::min(bound.integer.find_first_not_of('0'), bound.integer.size() - 1));
  bound.fraction.erase(bound.fraction.find_last_not_of('0') + 1);
  bound.negative = bound.negative && !is_zero(bound);
  return bound;
}

Result<ExpressionId> add_number(Expressions& into, const NumberRange& range) {
  CHECK_OK(check_digits(range.least));
  CHECK_OK(check_digits(range.most));
  const auto& [least, most, fractions] = range;
  if (!least && !most) return unbounded(into, fractions);

  Magnitudes magnitudes(into, fractions);
  std::vector<ExpressionId> choices;
  const NumberBound zero;
  NumberBound above_zero;
  above_zero.excluded = true;
  if (!most || !most->negative)
    choices.push_back(
        magnitudes.between(least && !least->negative ? &*least : &zero, most ? &*most : nullptr));
  if (!least || least->negative)
    choices.push_back(into.sequence(
        {into.literal("-"), magnitudes.between(most && most->negative ? &*most : &above_zero,
                                               least ? &*least : nullptr)}));
  return into.choice(choices);
}

}  // namespace hearth::grammar
