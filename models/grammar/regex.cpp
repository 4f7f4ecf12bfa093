#include "models/grammar/regex.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "models/grammar/regex_classes.h"

namespace hearth::grammar {
namespace {

struct Quantifier {
  std::uint32_t min = 1, max = 1;
};

class Parser {
 public:
  Parser(Expressions& into, std::string_view pattern, RegexUse use)
      : into_(into), reader_(pattern), use_(use) {}

  Result<ExpressionId> whole() {
    TRY(const auto expression, alternatives(0));
    if (!reader_.at_end()) return reader_.syntax("a ) without its (");
    return expression;
  }

 private:
  Result<ExpressionId> alternatives(std::size_t depth);
  Result<ExpressionId> alternative(std::size_t depth);
  Result<ExpressionId> item(std::size_t depth);
  Result<ExpressionId> group(std::size_t depth);
  Result<std::optional<Quantifier>> quantifier();
  Result<Quantifier> counted();
  ExpressionId characters(const CodePoints& points, Quantifier times);
  ExpressionId anything() { return characters(CodePoints::all(), {0, kUnbounded}); }

  Expressions& into_;
  RegexReader reader_;
  RegexUse use_;
  std::map<CodePoints, MachineId> machines_;
};

Result<ExpressionId> Parser::alternatives(std::size_t depth) {
  std::vector<ExpressionId> found;
  do {
    TRY(const auto one, alternative(depth));
    found.push_back(one);
  } while (reader_.take("|"));
  return into_.choice(found);
}

// Anchors are those of the whole expression, so they stand at the ends of its own alternatives.
Result<ExpressionId> Parser::alternative(std::size_t depth) {
  std::vector<ExpressionId> items;
  const bool outermost = depth == 0;
  const bool from_start = outermost && reader_.take("^");
  bool to_end = false;
  if (outermost && use_.search && !from_start) items.push_back(anything());
  while (!reader_.at_end() && !reader_.sees("|") && !reader_.sees(")")) {
    if (to_end) return reader_.missing("$ before the end");
    if (outermost && reader_.take("$")) {
      to_end = true;
      continue;
    }
    if (reader_.sees("^") || reader_.sees("$"))
      return reader_.missing("an anchor that is not at an end of the whole expression");
    TRY(const auto one, item(depth));
    items.push_back(one);
    if (into_.over_limit()) return reader_.syntax("more parts than are allowed");
  }
  if (outermost && use_.search && !to_end) items.push_back(anything());
  return into_.sequence(items);
}

Result<ExpressionId> Parser::item(std::size_t depth) {
  if (reader_.sees("*") || reader_.sees("+") || reader_.sees("?"))
    return reader_.syntax("a quantifier with nothing to repeat");
  if (reader_.sees("{")) return reader_.syntax("a { that repeats nothing (write \\{ for a brace)");
  if (reader_.take("(")) {
    TRY(const auto inner, group(depth + 1));
    TRY(const auto times, quantifier());
    return times ? into_.repeat(inner, times->min, times->max) : inner;
  }
  TRY(const auto points, reader_.take_character());
  TRY(const auto times, quantifier());
  return characters(points, times.value_or(Quantifier{}));
}

Result<ExpressionId> Parser::group(std::size_t depth) {
  if (depth > kMaxRegexDepth)
    return reader_.syntax(fmt::format("groups nested deeper than {}", kMaxRegexDepth));
  if (reader_.take("?")) {
    if (reader_.sees("=") || reader_.sees("!")) return reader_.missing("look-ahead");
    if (reader_.sees("<=") || reader_.sees("<!")) return reader_.missing("look-behind");
    if (reader_.sees(">")) return reader_.missing("an atomic group");
    if (reader_.sees("<") || reader_.sees("P")) return reader_.missing("a named group");
    if (!reader_.take(":")) return reader_.missing("an inline flag or condition");
  }
  TRY(const auto inner, alternatives(depth));
  if (!reader_.take(")")) return reader_.syntax("a ( without its )");
  return inner;
}

Result<std::optional<Quantifier>> Parser::quantifier() {
  std::optional<Quantifier> found;
  if (reader_.take("*"))
    found = Quantifier{0, kUnbounded};
  else if (reader_.take("+"))
    found = Quantifier{1, kUnbounded};
  else if (reader_.take("?"))
    found = Quantifier{0, 1};
  else if (reader_.take("{")) {
    TRY(found, counted());
  }
  if (!found) return found;
  reader_.take("?");  // lazy: the same texts in another order of preference
  if (reader_.sees("+")) return reader_.missing("a possessive quantifier");
  if (reader_.sees("*") || reader_.sees("?") || reader_.sees("{"))
    return reader_.syntax("a quantifier of a quantifier");
  return found;
}

Result<Quantifier> Parser::counted() {
  Quantifier found;
  TRY(const bool begins, reader_.take_number(found.min));
  if (!begins) return reader_.syntax("no number in {…} (write \\{ for a brace)");
  found.max = found.min;
  if (reader_.take(",")) {
    TRY(const bool ends, reader_.take_number(found.max));
    if (!ends) found.max = kUnbounded;
  }
  if (!reader_.take("}")) return reader_.syntax("a {…} without its }");
  if (found.max < found.min) return reader_.syntax("a {…} whose end is below its beginning");
  return found;
}

ExpressionId Parser::characters(const CodePoints& points, Quantifier times) {
  auto known = machines_.find(points);
  if (known == machines_.end()) {
    auto machine = use_.in_json ? Machine::one_in_json(points, false) : Machine::one_of(points);
    known = machines_.emplace(points, into_.add_machine(std::move(machine))).first;
  }
  return into_.repeated(known->second, times.min, times.max);
}

}  // namespace

Result<ExpressionId> add_regex(Expressions& into, std::string_view pattern, RegexUse use) {
  if (pattern.size() > kMaxRegexBytes)
    return fail(Code::kBadRequest, fmt::format("The regular expression has {} bytes; at most {}.",
                                               pattern.size(), kMaxRegexBytes));
  return Parser(into, pattern, use).whole();
}

}  // namespace hearth::grammar
