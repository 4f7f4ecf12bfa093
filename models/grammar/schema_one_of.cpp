#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "models/grammar/schema_compiler.h"

namespace hearth::grammar {
namespace {

constexpr int kMaxReferences = 16;  // followed one after the other

using Literals = std::set<std::string>;

// What is easily seen of a branch.
struct Outline {
  unsigned types = kAnyType | kInteger;      // that a validator takes
  std::optional<Literals> literals;          // the only values it takes
  std::map<std::string, Literals> required;  // of an object: members that take only these values
};

// Empty where there are none, or where equal values may be written differently.
std::optional<Literals> literals_of(const ConfigValue& schema, unsigned& types) {
  const auto one = schema["const"], list = schema["enum"];
  if (!one.exists() && list.size() == 0) return std::nullopt;
  Literals found;
  unsigned seen = 0;
  for (auto item = one.exists() ? one : list.first(); item.exists(); item = item.next()) {
    if (type_of(item) & (kObject | kArray)) return std::nullopt;
    seen |= type_of(item);
    found.insert(written(item));
    if (one.exists()) break;
  }
  types &= seen;
  return found;
}

Result<ConfigValue> followed(const ConfigValue& root, ConfigValue schema) {
  for (int i = 0; i < kMaxReferences && schema["$ref"].exists(); ++i) {
    TRY(schema, resolve(root, schema["$ref"]));
  }
  return schema;
}

// Those of `required` that take only certain values.
Result<std::map<std::string, Literals>> required_of(const ConfigValue& root,
                                                    const ConfigValue& schema) {
  std::map<std::string_view, ConfigValue> members;
  const ConfigValue properties = schema["properties"];
  for (auto member = properties.first(); member.exists(); member = member.next())
    members.insert_or_assign(member.key(), member);
  std::map<std::string, Literals> found;
  for (auto name = schema["required"].first(); name.exists(); name = name.next()) {
    if (!name.is_string()) continue;
    const auto known = members.find(*name.text());
    if (known == members.end()) continue;
    TRY(const ConfigValue member, followed(root, known->second));
    unsigned types = ~0u;
    if (auto literals = literals_of(member, types))
      found.emplace(known->first, std::move(*literals));
  }
  return found;
}

Result<Outline> outline_of(const ConfigValue& root, const ConfigValue& schema) {
  Outline outline;
  if (!schema.is_object()) return outline;
  TRY(const Keywords keywords, read_keywords(schema, false));
  // Without `type` a validator takes every type that the other keywords do not speak of.
  if (schema["type"].exists()) outline.types = keywords.types;
  if (outline.types & kNumber) outline.types |= kInteger;
  outline.literals = literals_of(schema, outline.types);
  if (outline.types == kObject) {
    TRY(outline.required, required_of(root, schema));
  }
  return outline;
}

// How much there is to look at in a branch.
std::size_t size_of(const ConfigValue& schema) {
  return 1 + schema.size() + schema["enum"].size() + schema["properties"].size() +
         schema["required"].size();
}

std::size_t size_of(const Outline& outline) {
  std::size_t size = 1 + (outline.literals ? outline.literals->size() : 0);
  for (const auto& [name, literals] : outline.required) size += 1 + literals.size();
  return size;
}

bool disjoint(const Literals& a, const Literals& b) {
  return std::none_of(a.begin(), a.end(), [&](const auto& text) { return b.contains(text); });
}

bool exclusive(const Outline& a, const Outline& b) {
  if ((a.types & b.types) == 0) return true;
  if (a.literals && b.literals) return disjoint(*a.literals, *b.literals);
  return std::any_of(a.required.begin(), a.required.end(), [&](const auto& member) {
    const auto other = b.required.find(member.first);
    return other != b.required.end() && disjoint(member.second, other->second);
  });
}

Result<void> spend(std::size_t& effort, std::size_t size, const ConfigValue& branch) {
  if (size > effort)
    return wrong(branch, "is too much to compare; make oneOf smaller, or use anyOf");
  effort -= size;
  return {};
}

}  // namespace

Result<void> check_exclusive(const ConfigValue& root, const ConfigValue& branches,
                             std::size_t& effort) {
  std::vector<Outline> outlines;
  for (auto branch = branches.first(); branch.exists(); branch = branch.next()) {
    TRY(const ConfigValue schema, followed(root, branch));
    CHECK_OK(spend(effort, size_of(schema), branch));
    TRY(auto outline, outline_of(root, schema));
    for (const auto& earlier : outlines) {
      CHECK_OK(spend(effort, size_of(earlier), branch));
      if (!exclusive(earlier, outline))
        return unsupported(branch,
                           "may hold together with a branch of oneOf before it, which is "
                           "not supported (give the branches different types or a required "
                           "property with a different const, or use anyOf)");
    }
    outlines.push_back(std::move(outline));
  }
  return {};
}

}  // namespace hearth::grammar
