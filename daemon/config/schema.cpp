#include <string>

#include <nlohmann/json.hpp>

#include "daemon/config/document.h"
#include "daemon/config/settings.h"

namespace hearth::config {
namespace {

using json = nlohmann::ordered_json;

constexpr const char* kSizePattern = R"(^[0-9]+(\.[0-9]+)? *([KMGTkmgt]([Ii]?[Bb])?|[Bb])?$)";
constexpr const char* kDurationPattern = R"(^[0-9]+(\.[0-9]+)? *(ms|s|m|min|h|d)?$)";

json amount(const char* pattern, const char* number, bool may_be_auto) {
  json either = {{{"type", "string"}, {"pattern", pattern}}, {{"type", number}, {"minimum", 0}}};
  if (may_be_auto) either.push_back({{"const", "auto"}});
  return {{"anyOf", either}};
}

json type_of(const Row& row) {
  switch (row.type) {
    case Type::kFlag:
      return {{"type", "boolean"}};
    case Type::kInteger:
      return {{"type", "integer"},
              {"minimum", std::stoll(std::string(row.least))},
              {"maximum", std::stoll(std::string(row.most))}};
    case Type::kSize:
      return amount(kSizePattern, "integer", row.usual == "auto");
    case Type::kDuration:
      return amount(kDurationPattern, "number", false);
    case Type::kText:
      return {{"type", "string"}};
    case Type::kChoice:
      return {{"enum", choices_of(row)}};
    case Type::kUsers:
      return {{"type", "array"}, {"items", {{"type", "integer"}, {"minimum", 0}}}};
  }
  return {};
}

json entry_of(const Row& row) {
  json entry = type_of(row);
  std::string help(row.help);
  if (const std::string range = range_text(row); !range.empty()) help += " " + range + ".";
  entry["description"] = help;
  if (!is_pattern(row)) entry["default"] = json::parse(to_toml(row, usual_value(row)));
  entry["x-takes-effect"] = to_string(row.takes_effect);
  return entry;
}

json empty_table() {
  return {{"type", "object"}, {"properties", json::object()}, {"additionalProperties", false}};
}

// The table that holds the row's value, made where it is missing.
json& table_of(json& root, std::string_view section) {
  json* table = &root;
  while (!section.empty()) {
    const std::size_t dot = section.find('.');
    const std::string name(section.substr(0, dot));
    json& entry = name == "*" ? (*table)["additionalProperties"] : (*table)["properties"][name];
    if (!entry.is_object()) entry = empty_table();
    table = &entry;
    section = dot == std::string_view::npos ? "" : section.substr(dot + 1);
  }
  return *table;
}

}  // namespace

std::string json_schema() {
  json root = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
               {"title", "hearth.toml: settings of the hearth service"}};
  root.update(empty_table());
  for (const Section& section : kSections)
    table_of(root, section.name)["description"] = std::string(section.help);
  for (const Row& row : kTable)
    table_of(root, section_of(row.key))["properties"][std::string(name_of(row.key))] =
        entry_of(row);
  return root.dump(2) + '\n';
}

}  // namespace hearth::config
