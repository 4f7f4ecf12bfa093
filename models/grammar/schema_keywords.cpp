#include "models/grammar/schema_keywords.h"

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "models/grammar/json_pieces.h"

namespace hearth::grammar {
namespace {

enum class Role {
  kAnnotation,  // asserts nothing
  kType,
  kAlone,       // beside annotations only; enum and const also beside type
  kConstraint,  // of the values of some types
};

struct Keyword {
  std::string_view name;
  Role role;
  unsigned types = 0;  // that a constraint speaks of
};

constexpr Keyword kKeywords[] = {
    {"title", Role::kAnnotation},
    {"description", Role::kAnnotation},
    {"default", Role::kAnnotation},
    {"examples", Role::kAnnotation},
    {"deprecated", Role::kAnnotation},
    {"readOnly", Role::kAnnotation},
    {"writeOnly", Role::kAnnotation},
    {"$comment", Role::kAnnotation},
    {"$defs", Role::kAnnotation},
    {"definitions", Role::kAnnotation},
    {"type", Role::kType},
    {"$ref", Role::kAlone},
    {"enum", Role::kAlone},
    {"const", Role::kAlone},
    {"anyOf", Role::kAlone},
    {"oneOf", Role::kAlone},
    {"allOf", Role::kAlone},
    {"minLength", Role::kConstraint, kString},
    {"maxLength", Role::kConstraint, kString},
    {"pattern", Role::kConstraint, kString},
    {"format", Role::kConstraint, kString},
    {"minimum", Role::kConstraint, kNumber},
    {"maximum", Role::kConstraint, kNumber},
    {"exclusiveMinimum", Role::kConstraint, kNumber},
    {"exclusiveMaximum", Role::kConstraint, kNumber},
    {"items", Role::kConstraint, kArray},
    {"prefixItems", Role::kConstraint, kArray},
    {"minItems", Role::kConstraint, kArray},
    {"maxItems", Role::kConstraint, kArray},
    {"uniqueItems", Role::kConstraint, kArray},
    {"properties", Role::kConstraint, kObject},
    {"required", Role::kConstraint, kObject},
    {"additionalProperties", Role::kConstraint, kObject},
    {"minProperties", Role::kConstraint, kObject},
    {"maxProperties", Role::kConstraint, kObject},
};

struct TypeName {
  std::string_view name;
  unsigned bit;
};
constexpr TypeName kTypeNames[] = {
    {"null", kNull},     {"boolean", kBoolean}, {"integer", kInteger}, {"number", kNumber},
    {"string", kString}, {"array", kArray},     {"object", kObject}};

constexpr std::string_view kDrafts[] = {
    "https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema", "http://json-schema.org/draft-06/schema"};

Result<unsigned> type_named(const ConfigValue& value) {
  const auto text = value.text();
  if (!text) return as_request(text.error());
  for (const auto& type : kTypeNames)
    if (type.name == *text) return type.bit;
  return wrong(value, fmt::format("is \"{}\", which is no type", *text));
}

Result<unsigned> types_of(const ConfigValue& type) {
  if (!type.is_array()) return type_named(type);
  unsigned types = 0;
  for (auto item = type.first(); item.exists(); item = item.next()) {
    TRY(const unsigned one, type_named(item));
    types |= one;
  }
  if (types == 0) return wrong(type, "is an empty list");
  return types & kNumber ? types & ~unsigned{kInteger} : types;
}

// $schema, $id and uniqueItems are fine with some values.
Result<bool> is_fine_as_it_stands(const ConfigValue& member, bool is_root) {
  if (member.key() == "$schema") {
    auto draft = member.text();
    if (!draft) return as_request(draft.error());
    if (draft->ends_with('#')) draft->remove_suffix(1);
    if (std::find(std::begin(kDrafts), std::end(kDrafts), *draft) == std::end(kDrafts))
      return unsupported(member,
                         fmt::format("names \"{}\", a draft that is not supported", *draft));
    return true;
  }
  if (member.key() == "$id") return is_root;
  if (member.key() != "uniqueItems") return false;
  const auto unique = member.boolean();
  if (!unique) return as_request(unique.error());
  if (*unique) return unsupported(member, "is not supported");
  return true;
}

void append(std::string& out, const ConfigValue& value) {
  if (value.is_string()) {
    out += quoted(*value.text());
  } else if (value.is_boolean()) {
    out += *value.boolean() ? "true" : "false";
  } else if (value.is_number()) {
    const auto integer = value.integer();
    out += integer ? fmt::format("{}", *integer) : fmt::format("{}", *value.number());
  } else if (value.is_null()) {
    out += "null";
  } else {
    const bool object = value.is_object();
    out += object ? '{' : '[';
    for (auto item = value.first(); item.exists();) {
      if (object) out += quoted(item.key()) + ":";
      append(out, item);
      item = item.next();
      if (item.exists()) out += ',';
    }
    out += object ? '}' : ']';
  }
}

}  // namespace

Result<Keywords> read_keywords(const ConfigValue& schema, bool is_root) {
  Keywords found;
  unsigned constrained = 0;
  std::string_view other;  // an assertion that cannot stand beside `alone`
  for (auto member = schema.first(); member.exists(); member = member.next()) {
    TRY(const bool fine, is_fine_as_it_stands(member, is_root));
    if (fine) continue;
    const auto* known = std::find_if(std::begin(kKeywords), std::end(kKeywords),
                                     [&](const auto& one) { return one.name == member.key(); });
    if (known == std::end(kKeywords)) return unsupported(member, "is not supported");
    constrained |= known->types;
    if (known->role == Role::kAlone && found.alone.empty())
      found.alone = known->name;
    else if (known->role == Role::kAlone || known->role == Role::kConstraint)
      other = known->name;
  }
  const bool literal = found.alone == "enum" || found.alone == "const";
  found.constrained = constrained != 0;
  const auto type = schema["type"];
  if (type.exists() && !found.alone.empty() && !literal) other = "type";
  if (!found.alone.empty() && !other.empty())
    return unsupported(schema, fmt::format("has both {} and {}, which is not supported together",
                                           found.alone, other));
  if (type.exists()) {
    TRY(found.types, types_of(type));
  } else if (constrained != 0) {
    found.types = constrained;
  }
  return found;
}

unsigned type_of(const ConfigValue& value) {
  if (value.is_null()) return kNull;
  if (value.is_boolean()) return kBoolean;
  if (value.is_string()) return kString;
  if (value.is_array()) return kArray;
  if (value.is_object()) return kObject;
  return value.integer() ? kInteger : kNumber;
}

std::string written(const ConfigValue& value) {
  std::string out;
  append(out, value);
  return out;
}

Result<std::uint32_t> count_or(const ConfigValue& value, std::uint32_t fallback) {
  if (!value.exists()) return fallback;
  const auto count = value.integer(0, 1'000'000'000);
  if (!count) return as_request(count.error());
  return static_cast<std::uint32_t>(*count);
}

Error unsupported(const ConfigValue& place, std::string_view problem) {
  return fail(Code::kUnsupported, fmt::format("{} {}.", place.path(), problem),
              "docs/grammar.md lists what a schema may use.");
}

Error wrong(const ConfigValue& place, std::string_view problem) {
  return fail(Code::kBadRequest, fmt::format("{} {}.", place.path(), problem));
}

Error as_request(Error error) {
  error.code = Code::kBadRequest;
  error.hint.clear();
  return error;
}

}  // namespace hearth::grammar
