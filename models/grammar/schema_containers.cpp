#include <algorithm>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "models/grammar/schema.h"
#include "models/grammar/schema_compiler.h"

namespace hearth::grammar {
namespace {

Result<std::vector<std::string_view>> names_in(const ConfigValue& required) {
  std::vector<std::string_view> names;
  if (!required.exists()) return names;
  if (!required.is_array()) return wrong(required, "must be a list of names");
  for (auto item = required.first(); item.exists(); item = item.next()) {
    const auto name = item.text();
    if (!name) return as_request(name.error());
    if (name->size() > kMaxNameBytes)
      return wrong(item, fmt::format("is longer than {} bytes", kMaxNameBytes));
    names.push_back(*name);
  }
  return names;
}

}  // namespace

Result<ExpressionId> SchemaCompiler::array(const ConfigValue& schema) {
  Elements elements;
  const auto first = schema["prefixItems"], others = schema["items"];
  if (first.exists() && !first.is_array()) return wrong(first, "must be a list of schemas");
  if (first.size() > kMaxBranches)
    return unsupported(first, fmt::format("with over {} schemas is not supported", kMaxBranches));
  for (auto item = first.first(); item.exists(); item = item.next()) {
    TRY(const ExpressionId one, value(item));
    elements.first.push_back(one);
  }
  TRY(elements.min, count_or(schema["minItems"], 0));
  TRY(elements.max, count_or(schema["maxItems"], kUnbounded));
  if (elements.min > elements.max) return wrong(schema, "has a minItems over its maxItems");
  if (others.exists()) {
    TRY(elements.others, value(others));
  } else if (!first.exists()) {
    elements.others = pieces_.any();
  } else if (elements.min > elements.first.size()) {
    return unsupported(schema,
                       "has a minItems over its prefixItems and no items, which is not "
                       "supported together");
  }
  return pieces_.array(elements);
}

// What a member that is not declared may be; none: there may be none.
Result<std::optional<ExpressionId>> SchemaCompiler::other_properties(const ConfigValue& schema) {
  const auto others = schema["additionalProperties"];
  const bool declares = schema["properties"].exists() || schema["required"].exists();
  if (!others.exists())
    return declares ? std::optional<ExpressionId>() : std::optional(pieces_.any());
  if (others.is_boolean() && !*others.boolean()) return std::optional<ExpressionId>();
  TRY(const ExpressionId any, value(others));
  return std::optional(any);
}

Result<std::vector<Property>> SchemaCompiler::properties(
    const ConfigValue& schema, const std::optional<ExpressionId>& others) {
  std::vector<Property> found;
  const auto declared = schema["properties"];
  if (declared.exists() && !declared.is_object()) return wrong(declared, "must be an object");
  TRY(const auto required, names_in(schema["required"]));
  const std::set<std::string_view> required_names(required.begin(), required.end());
  std::set<std::string_view> names;
  for (auto member = declared.first(); member.exists(); member = member.next()) {
    if (member.key().size() > kMaxNameBytes)
      return wrong(declared, fmt::format("has a name longer than {} bytes", kMaxNameBytes));
    if (!names.insert(member.key()).second) return wrong(member, "is there twice");
    TRY(const ExpressionId one, value(member));
    found.push_back({std::string(member.key()), one, required_names.contains(member.key())});
  }
  for (const auto name : required) {
    if (!names.insert(name).second) continue;
    const bool closed = schema["additionalProperties"].exists() && !others;
    if (closed) return wrong(schema, fmt::format("requires \"{}\" and has no such property", name));
    found.push_back({std::string(name), others.value_or(pieces_.any()), true});
  }
  return found;
}

Result<ExpressionId> SchemaCompiler::object(const ConfigValue& schema) {
  TRY(const auto others, other_properties(schema));
  TRY(const auto declared, properties(schema, others));
  TRY(const auto min, count_or(schema["minProperties"], 0));
  TRY(const auto max, count_or(schema["maxProperties"], kUnbounded));
  if (min > max) return wrong(schema, "has a minProperties over its maxProperties");
  if (declared.empty() && others) return pieces_.object({}, MoreProperties{*others, min, max});
  const auto required = static_cast<std::size_t>(std::count_if(
      declared.begin(), declared.end(), [](const auto& one) { return one.required; }));
  if (min > required || (max != kUnbounded && (others || max < declared.size())))
    return unsupported(schema,
                       "has minProperties or maxProperties beside declared properties, "
                       "which is not supported together");
  std::optional<MoreProperties> more;
  if (others) more = MoreProperties{*others, 0, kUnbounded};
  return pieces_.object(declared, more);
}

}  // namespace hearth::grammar
