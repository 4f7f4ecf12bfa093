#include "models/files/json_document.h"

#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/files/config.h"
#include "models/files/model_file.h"

namespace hearth::files {
namespace {

// Builds a JsonDocument from nlohmann's events; returning false ends the parse.
class Builder {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  Builder(JsonDocument& document, const JsonLimits& limits)
      : document_(document), limits_(limits) {}

  std::string problem;  // why the parse ended

  bool null() { return add(JsonDocument::Kind::kNull) != nullptr; }
  bool boolean(bool value) {
    auto* node = add(JsonDocument::Kind::kBoolean);
    if (node) node->boolean = value;
    return node;
  }
  bool number_integer(number_integer_t value) {
    auto* node = add(JsonDocument::Kind::kInteger);
    if (node) node->integer = value;
    return node;
  }
  bool number_unsigned(number_unsigned_t value) {
    constexpr auto kLargest = std::numeric_limits<std::int64_t>::max();
    if (value > static_cast<std::uint64_t>(kLargest))
      return number_float(static_cast<double>(value), {});
    return number_integer(static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t&) {
    auto* node = add(JsonDocument::Kind::kNumber);
    if (node) node->number = value;
    return node;
  }
  bool string(string_t& value) {
    auto* node = add(JsonDocument::Kind::kString);
    if (node) node->string = {store(value), static_cast<std::uint32_t>(value.size())};
    return node;
  }
  bool binary(binary_t&) { return stop("holds a binary value"); }
  bool start_object(std::size_t) { return open(JsonDocument::Kind::kObject); }
  bool start_array(std::size_t) { return open(JsonDocument::Kind::kArray); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(string_t& value) {
    key_begin_ = store(value);
    key_bytes_ = static_cast<std::uint32_t>(value.size());
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) {
    return stop(fmt::format("is not valid JSON at byte {}", position));
  }

 private:
  // The pool cannot outgrow the text, which is capped far below 4 GiB: escapes only shrink.
  std::uint32_t store(std::string_view text) {
    const auto begin = static_cast<std::uint32_t>(document_.pool.size());
    document_.pool += text;
    return begin;
  }

  bool stop(std::string why) {
    if (problem.empty()) problem = std::move(why);
    return false;
  }

  JsonDocument::Node* add(JsonDocument::Kind kind) {
    auto& nodes = document_.nodes;
    if (nodes.size() >= limits_.max_values) {
      stop(fmt::format("holds more than {} values", limits_.max_values));
      return nullptr;
    }
    const auto index = static_cast<std::uint32_t>(nodes.size());
    auto& node = nodes.emplace_back();
    node.kind = kind;
    node.parent = open_;
    if (open_ != JsonDocument::kNone) append(nodes[open_], index);
    return &node;
  }

  void append(JsonDocument::Node& parent, std::uint32_t index) {
    auto& nodes = document_.nodes;
    (parent.last == JsonDocument::kNone ? parent.first : nodes[parent.last].next) = index;
    parent.last = index;
    ++parent.children;
    if (parent.kind != JsonDocument::Kind::kObject) return;
    nodes[index].key_begin = key_begin_;
    nodes[index].key_bytes = key_bytes_;
  }

  bool open(JsonDocument::Kind kind) {
    if (depth_ >= limits_.max_depth)
      return stop(fmt::format("is nested deeper than {} levels", limits_.max_depth));
    if (!add(kind)) return false;
    open_ = static_cast<std::uint32_t>(document_.nodes.size() - 1);
    ++depth_;
    return true;
  }

  bool close() {
    open_ = document_.nodes[open_].parent;
    --depth_;
    return true;
  }

  JsonDocument& document_;
  const JsonLimits& limits_;
  std::uint32_t open_ = JsonDocument::kNone;  // the object or array being filled
  std::size_t depth_ = 0;
  std::uint32_t key_begin_ = 0;  // of the next member
  std::uint32_t key_bytes_ = 0;
};

}  // namespace

Result<ConfigValue> parse_json(std::string file, std::string_view text, JsonLimits limits) {
  if (text.size() > limits.max_bytes)
    return fail(Code::kBadModel, fmt::format("{} has {} bytes; at most {} are read.", file,
                                             text.size(), limits.max_bytes));
  auto document = std::make_shared<JsonDocument>();
  document->file = std::move(file);
  Builder builder(*document, limits);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder))
    return fail(Code::kBadModel, fmt::format("{} {}.", document->file, builder.problem));
  document->nodes.shrink_to_fit();
  return ConfigValue(std::move(document), 0);
}

Result<ConfigValue> read_json(const models::ModelFiles& files, std::string_view label,
                              JsonLimits limits) {
  const auto* file = find_file(files, label);
  if (!file)
    return fail(Code::kBadModel, fmt::format("{} is missing from the model's files.", label),
                "Offer the whole folder of the model.");
  TRY(const auto text, read_whole(*file, limits.max_bytes));
  return parse_json(std::string(label), text, limits);
}

}  // namespace hearth::files
