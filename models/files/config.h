// JSON of a model's folder as values that say where they stand: config.json, tokenizer.json …
//
// A ConfigValue is one place in a parsed document, present or not. Looking up what is not there
// gives an absent value that remembers its path, so that only the typed getters can fail, and each
// failure (bad_model) names file and key: "config.json: text_config.hidden_size is missing".
//
// Ownership: values share their document. Any thread; immutable after parsing.
//
// Bounded: size, depth and number of values are capped before memory is spent on them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::files {

struct JsonLimits {
  std::size_t max_bytes = std::size_t{4} << 20;
  std::size_t max_depth = 32;
  std::size_t max_values = 200'000;
};

class JsonDocument;

class ConfigValue {
 public:
  static constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  static constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

  ConfigValue() = default;  // absent

  bool exists() const { return node_ != kAbsent; }
  bool is_null() const;
  bool is_object() const;
  bool is_array() const;
  bool is_string() const;
  bool is_number() const;  // integers too
  bool is_boolean() const;
  explicit operator bool() const { return exists() && !is_null(); }

  // Absent when this is not an object with that key. Of equal keys the last one counts, as in
  // Python.
  ConfigValue operator[](std::string_view key) const;

  // Walks the members of an object or the elements of an array, in the file's order:
  //   for (auto item = list.first(); item.exists(); item = item.next())
  ConfigValue first() const;
  ConfigValue next() const;
  std::size_t size() const;      // members or elements; 0 for anything else
  std::string_view key() const;  // of a member; lives as long as any value of the document

  // Typed. Errors: bad_model naming file, key and what was expected.
  Result<std::int64_t> integer(std::int64_t min = kMin, std::int64_t max = kMax) const;
  Result<double> number() const;  // finite
  Result<bool> boolean() const;
  Result<std::string_view> text() const;  // lives as long as any value of the document

  // The same, but absent or null gives `fallback`.
  Result<std::int64_t> integer_or(std::int64_t fallback, std::int64_t min = kMin,
                                  std::int64_t max = kMax) const;
  Result<double> number_or(double fallback) const;
  Result<bool> boolean_or(bool fallback) const;
  Result<std::string_view> text_or(std::string_view fallback) const;

  // Arrays of one type. Absent or null is an error; an empty array is not.
  Result<std::vector<std::int64_t>> integers(std::int64_t min = kMin,
                                             std::int64_t max = kMax) const;
  Result<std::vector<double>> numbers() const;

  // "config.json: text_config.hidden_size", for messages.
  std::string path() const;
  // bad_model: path() and `problem`.
  Error error(std::string_view problem) const;

 private:
  friend Result<ConfigValue> parse_json(std::string file, std::string_view text, JsonLimits limits);
  static constexpr std::uint32_t kAbsent = ~std::uint32_t{0};
  ConfigValue(std::shared_ptr<const JsonDocument> document, std::uint32_t node)
      : document_(std::move(document)), node_(node) {}

  std::shared_ptr<const JsonDocument> document_;
  std::uint32_t node_ = kAbsent;
  std::string absent_path_;  // of an absent value: where it was looked for
};

// `file` names the document in errors. Errors: bad_model with the position of the fault.
Result<ConfigValue> parse_json(std::string file, std::string_view text, JsonLimits limits = {});

// Reads and parses a labelled file. Errors: bad_model when it is absent, too large or not JSON.
Result<ConfigValue> read_json(const models::ModelFiles& files, std::string_view label,
                              JsonLimits limits = {});

}  // namespace hearth::files
