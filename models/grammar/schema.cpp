#include "models/grammar/schema.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "models/grammar/schema_compiler.h"

namespace hearth::grammar {
namespace {

// One part of a JSON pointer: ~1 is /, ~0 is ~.
std::string unescaped(std::string_view part) {
  std::string name;
  for (std::size_t i = 0; i < part.size(); ++i) {
    const bool escape = part[i] == '~' && i + 1 < part.size();
    if (escape) ++i;
    name += escape ? (part[i] == '1' ? '/' : '~') : part[i];
  }
  return name;
}

ConfigValue element(const ConfigValue& list, std::string_view digits) {
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (error != std::errc() || end != digits.data() + digits.size()) return {};
  auto item = list.first();
  while (index-- > 0 && item.exists()) item = item.next();
  return item;
}

}  // namespace

Result<ConfigValue> resolve(const ConfigValue& root, const ConfigValue& pointer) {
  const auto text = pointer.text();
  if (!text) return as_request(text.error());
  if (*text != "#" && !text->starts_with("#/"))
    return unsupported(pointer,
                       fmt::format("refers to \"{}\"; only places in the same schema (#/…) "
                                   "can be referred to",
                                   *text));
  if (text->find('%') != std::string_view::npos)
    return unsupported(pointer, "has a % escape, which is not supported");
  ConfigValue at = root;
  std::string_view rest = text->substr(1);
  while (!rest.empty()) {
    const auto end = std::min(rest.find('/', 1), rest.size());
    const std::string part = unescaped(rest.substr(1, end - 1));
    at = at.is_array() ? element(at, part) : at[part];
    if (!at.exists())
      return wrong(pointer, fmt::format("refers to \"{}\", where nothing is", *text));
    rest.remove_prefix(end);
  }
  return at;
}

Result<ExpressionId> SchemaCompiler::compile() {
  const ExpressionId root = rules_["#"] = into_.rule();
  TRY(const ExpressionId document, value(root_, true));
  into_.define(root, document);
  while (!to_define_.empty()) {
    auto [rule, schema] = std::move(to_define_.back());
    to_define_.pop_back();
    TRY(const ExpressionId part, value(schema));
    into_.define(rule, part);
  }
  return root;
}

Result<ExpressionId> SchemaCompiler::value(const ConfigValue& schema, bool is_root) {
  if (into_.over_limit())
    return wrong(root_, "needs more parts than are allowed; make the schema smaller");
  if (schema.is_boolean()) return *schema.boolean() ? pieces_.any() : into_.never();
  if (!schema.is_object()) return wrong(schema, "must be a schema: an object, true or false");
  TRY(const Keywords keywords, read_keywords(schema, is_root));
  if (!keywords.alone.empty()) return decided_by(keywords.alone, schema, keywords.types);
  if (keywords.types == kAnyType && !keywords.constrained) return pieces_.any();

  std::vector<ExpressionId> choices;
  for (unsigned type = kNull; type <= kObject; type <<= 1) {
    if ((keywords.types & type) == 0) continue;
    TRY(const ExpressionId one, of_type(type, schema));
    choices.push_back(one);
  }
  return into_.choice(choices);
}

Result<ExpressionId> SchemaCompiler::of_type(unsigned type, const ConfigValue& schema) {
  switch (type) {
    case kNull:
      return into_.literal("null");
    case kBoolean:
      return into_.choice({into_.literal("true"), into_.literal("false")});
    case kInteger:
      return number(schema, false);
    case kNumber:
      return number(schema, true);
    case kString:
      return string(schema);
    case kArray:
      return array(schema);
    default:
      return object(schema);
  }
}

Result<ExpressionId> SchemaCompiler::decided_by(std::string_view keyword, const ConfigValue& schema,
                                                unsigned types) {
  const ConfigValue argument = schema[keyword];
  if (keyword == "$ref") return reference(argument);
  if (keyword == "const") return literals(argument, true, types);
  if (!argument.is_array() || argument.size() == 0)
    return wrong(argument, "must be a list that is not empty");
  if (keyword != "enum" && argument.size() > kMaxBranches)
    return unsupported(argument,
                       fmt::format("with over {} schemas is not supported", kMaxBranches));
  if (keyword == "enum") return literals(argument, false, types);
  if (keyword == "allOf") {
    if (argument.size() == 1) return value(argument.first());
    return unsupported(argument, "with more than one schema is not supported");
  }
  if (keyword == "oneOf") CHECK_OK(check_exclusive(root_, argument, one_of_effort_));
  return branches(argument);
}

Result<ExpressionId> SchemaCompiler::branches(const ConfigValue& list) {
  std::vector<ExpressionId> choices;
  for (auto branch = list.first(); branch.exists(); branch = branch.next()) {
    TRY(const ExpressionId one, value(branch));
    choices.push_back(one);
  }
  return into_.choice(choices);
}

Result<ExpressionId> SchemaCompiler::literals(const ConfigValue& values, bool one, unsigned types) {
  if (types & kNumber) types |= kInteger;
  Machine machine;
  for (auto item = one ? values : values.first(); item.exists(); item = item.next()) {
    if (type_of(item) & types) machine.add_literal(written(item));
    if (one) break;
  }
  return into_.one(std::move(machine));
}

Result<ExpressionId> SchemaCompiler::reference(const ConfigValue& pointer) {
  TRY(ConfigValue target, resolve(root_, pointer));
  const auto text = *pointer.text();
  if (const auto known = rules_.find(text); known != rules_.end()) return known->second;
  if (rules_.size() >= kMaxSchemaRules)
    return wrong(pointer, fmt::format("is one reference too many; at most {}", kMaxSchemaRules));
  const ExpressionId rule = into_.rule();
  rules_.emplace(text, rule);
  to_define_.emplace_back(rule, std::move(target));
  return rule;
}

Result<ExpressionId> add_schema(Expressions& into, std::string_view text, Whitespace whitespace) {
  auto parsed =
      files::parse_json("schema", text, {kMaxSchemaBytes, kMaxSchemaDepth, kMaxSchemaValues});
  if (!parsed) return as_request(std::move(parsed).error());
  return SchemaCompiler(into, *parsed, whitespace).compile();
}

}  // namespace hearth::grammar
