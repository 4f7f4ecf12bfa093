#include "models/files/config.h"

#include <cmath>

#include <fmt/format.h>

#include "models/files/json_document.h"
#include "models/files/model_file.h"

namespace hearth::files {
namespace {

using Kind = JsonDocument::Kind;

std::string joined(std::string path, std::string_view key) {
  const bool at_root = path.empty() || path.back() == ':';
  return path + (at_root ? " " : ".") + shortened(key);
}

// How a node is reached: "tokenizer.json: model.merges[17]".
std::string path_of(const JsonDocument& document, std::uint32_t index) {
  const auto& node = document.nodes[index];
  if (node.parent == JsonDocument::kNone) return document.file + ":";
  const auto& parent = document.nodes[node.parent];
  if (parent.kind == Kind::kObject)
    return joined(path_of(document, node.parent), document.key(node));
  std::size_t place = 0;
  for (auto i = parent.first; i != index; i = document.nodes[i].next) ++place;
  return fmt::format("{}[{}]", path_of(document, node.parent), place);
}

bool is(const JsonDocument* document, std::uint32_t node, Kind kind) {
  return document && node < document->nodes.size() && document->nodes[node].kind == kind;
}

}  // namespace

bool ConfigValue::is_null() const {
  return is(document_.get(), node_, Kind::kNull);
}
bool ConfigValue::is_object() const {
  return is(document_.get(), node_, Kind::kObject);
}
bool ConfigValue::is_array() const {
  return is(document_.get(), node_, Kind::kArray);
}
bool ConfigValue::is_string() const {
  return is(document_.get(), node_, Kind::kString);
}
bool ConfigValue::is_boolean() const {
  return is(document_.get(), node_, Kind::kBoolean);
}
bool ConfigValue::is_number() const {
  return is(document_.get(), node_, Kind::kInteger) || is(document_.get(), node_, Kind::kNumber);
}

ConfigValue ConfigValue::operator[](std::string_view key) const {
  ConfigValue found;
  if (is_object())
    for (auto i = document_->nodes[node_].first; i != kAbsent; i = document_->nodes[i].next)
      if (document_->key(document_->nodes[i]) == key) found = ConfigValue(document_, i);
  if (!found.exists()) found.absent_path_ = joined(path(), key);
  return found;
}

ConfigValue ConfigValue::first() const {
  if (!is_object() && !is_array()) return {};
  const auto child = document_->nodes[node_].first;
  return child == kAbsent ? ConfigValue() : ConfigValue(document_, child);
}

ConfigValue ConfigValue::next() const {
  if (!exists()) return {};
  const auto sibling = document_->nodes[node_].next;
  return sibling == kAbsent ? ConfigValue() : ConfigValue(document_, sibling);
}

std::size_t ConfigValue::size() const {
  return exists() ? document_->nodes[node_].children : 0;
}

std::string_view ConfigValue::key() const {
  return exists() ? document_->key(document_->nodes[node_]) : std::string_view();
}

std::string ConfigValue::path() const {
  return exists() ? path_of(*document_, node_) : absent_path_;
}

Error ConfigValue::error(std::string_view problem) const {
  return fail(Code::kBadModel, fmt::format("{} {}.", path(), problem));
}

Result<std::int64_t> ConfigValue::integer(std::int64_t min, std::int64_t max) const {
  if (!exists()) return error("is missing");
  if (!is(document_.get(), node_, Kind::kInteger)) return error("must be an integer");
  const auto value = document_->nodes[node_].integer;
  if (value < min || value > max)
    return error(fmt::format("is {}, but must be within {} and {}", value, min, max));
  return value;
}

Result<double> ConfigValue::number() const {
  if (!exists()) return error("is missing");
  if (!is_number()) return error("must be a number");
  const auto& node = document_->nodes[node_];
  const double value =
      node.kind == Kind::kInteger ? static_cast<double>(node.integer) : node.number;
  if (!std::isfinite(value)) return error("must be finite");
  return value;
}

Result<bool> ConfigValue::boolean() const {
  if (!exists()) return error("is missing");
  if (!is_boolean()) return error("must be true or false");
  return document_->nodes[node_].boolean;
}

Result<std::string_view> ConfigValue::text() const {
  if (!exists()) return error("is missing");
  if (!is_string()) return error("must be a string");
  return document_->string(document_->nodes[node_]);
}

Result<std::int64_t> ConfigValue::integer_or(std::int64_t fallback, std::int64_t min,
                                             std::int64_t max) const {
  return *this ? integer(min, max) : fallback;
}
Result<double> ConfigValue::number_or(double fallback) const {
  return *this ? number() : fallback;
}
Result<bool> ConfigValue::boolean_or(bool fallback) const {
  return *this ? boolean() : fallback;
}
Result<std::string_view> ConfigValue::text_or(std::string_view fallback) const {
  return *this ? text() : fallback;
}

Result<std::vector<std::int64_t>> ConfigValue::integers(std::int64_t min, std::int64_t max) const {
  if (!exists()) return error("is missing");
  if (!is_array()) return error("must be a list of integers");
  std::vector<std::int64_t> values;
  values.reserve(size());
  for (auto item = first(); item.exists(); item = item.next()) {
    TRY(const auto value, item.integer(min, max));
    values.push_back(value);
  }
  return values;
}

Result<std::vector<double>> ConfigValue::numbers() const {
  if (!exists()) return error("is missing");
  if (!is_array()) return error("must be a list of numbers");
  std::vector<double> values;
  values.reserve(size());
  for (auto item = first(); item.exists(); item = item.next()) {
    TRY(const auto value, item.number());
    values.push_back(value);
  }
  return values;
}

}  // namespace hearth::files
