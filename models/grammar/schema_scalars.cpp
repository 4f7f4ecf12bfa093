#include <array>
#include <charconv>
#include <functional>
#include <map>
#include <string>

#include <fmt/format.h>

#include "models/grammar/number_range.h"
#include "models/grammar/regex.h"
#include "models/grammar/schema_compiler.h"

namespace hearth::grammar {
namespace {

// The formats that are kept to, as regular expressions. RFC 3339's months have their days; the 29th
// of February is left out, so no year is wrong.
const std::map<std::string, std::string, std::less<>>& formats() {
  static const std::string date =
      "\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|"
      "1\\d|2[0-8]))";
  static const std::string time =
      "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)";
  static const std::string byte = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
  static const std::map<std::string, std::string, std::less<>> patterns = {
      {"date", date},
      {"time", time},
      {"date-time", date + "T" + time},
      {"uuid", "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"},
      {"ipv4", "(" + byte + "\\.){3}" + byte},
      {"email",
       "[A-Za-z0-9_%+-]{1,32}(\\.[A-Za-z0-9_%+-]{1,31})?@([A-Za-z0-9]([A-Za-z0-9-]{0,30}"
       "[A-Za-z0-9])?\\.){1,4}[A-Za-z]{2,24}"},
  };
  return patterns;
}

// A number of the schema in plain decimal digits.
Result<NumberBound> bound_of(const ConfigValue& value, bool excluded) {
  if (const auto integer = value.integer())
    return number_bound(fmt::format("{}", *integer), excluded);
  const auto number = value.number();
  if (!number) return as_request(number.error());
  std::array<char, 400> digits;  // the largest double has 309
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), *number,
                                 std::chars_format::fixed);
  return number_bound({digits.data(), end.ptr}, excluded);
}

Result<std::optional<NumberBound>> either(const ConfigValue& schema, std::string_view included,
                                          std::string_view excluded) {
  const auto wide = schema[included], narrow = schema[excluded];
  if (wide.exists() && narrow.exists())
    return unsupported(schema, fmt::format("has both {} and {}, which is not supported together",
                                           included, excluded));
  if (!wide.exists() && !narrow.exists()) return std::optional<NumberBound>();
  TRY(auto bound, bound_of(wide.exists() ? wide : narrow, narrow.exists()));
  return std::optional(std::move(bound));
}

}  // namespace

Result<ExpressionId> SchemaCompiler::number(const ConfigValue& schema, bool fractions) {
  NumberRange range;
  range.fractions = fractions;
  TRY(range.least, either(schema, "minimum", "exclusiveMinimum"));
  TRY(range.most, either(schema, "maximum", "exclusiveMaximum"));
  return add_number(into_, range);
}

Result<ExpressionId> SchemaCompiler::string(const ConfigValue& schema) {
  const auto pattern = schema["pattern"], format = schema["format"];
  TRY(const auto min, count_or(schema["minLength"], 0));
  TRY(const auto max, count_or(schema["maxLength"], kUnbounded));
  if (min > max) return wrong(schema, "has a minLength over its maxLength");
  const bool length = schema["minLength"].exists() || schema["maxLength"].exists();
  if (pattern.exists() + format.exists() + length > 1)
    return unsupported(schema,
                       "has more than one of pattern, format and minLength / maxLength, "
                       "which is not supported together");
  if (!pattern.exists() && !format.exists()) return pieces_.string(min, max);

  const auto text = pattern.exists() ? pattern.text() : format.text();
  if (!text) return as_request(text.error());
  const bool named = format.exists();
  const auto known = named ? formats().find(*text) : formats().end();
  if (named && known == formats().end())
    return unsupported(format, fmt::format("is \"{}\", which is not supported (date, time, "
                                           "date-time, uuid, ipv4, email are)",
                                           *text));
  auto content = add_regex(into_, named ? std::string_view(known->second) : *text,
                           {.in_json = true, .search = !named});
  if (!content) {
    Error error = std::move(content).error();
    error.what = fmt::format("{}: {}", pattern.path(), error.what);
    return error;
  }
  return pieces_.in_quotes(*content);
}

}  // namespace hearth::grammar
