// One value of a setting: read from text or from what TOML says, checked against its row.
//
// Values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/config/table.h"

namespace hearth::config {

struct Auto {
  bool operator==(const Auto&) const = default;
};
// Integers, sizes in bytes and durations in milliseconds are all std::int64_t: the row's type
// tells.
using Users = std::vector<std::int64_t>;
using Value = std::variant<Auto, bool, std::int64_t, std::string, Users>;

// A value, or what is wrong with the text, as the end of a sentence that begins with the key:
// "takes a duration such as 45s, not 'soon'".
struct ValueOrFault {
  Value value;
  std::string fault;  // empty: the value counts
};

// As people write it on a command line or in the environment; users are separated by commas.
ValueOrFault read_value(const Row& row, std::string_view text);
// The value where it lies in the range of its row.
ValueOrFault checked(const Row& row, Value value);
// What the row takes: "a duration such as 45s", "one of auto, cpu, cuda".
std::string expected(const Row& row);
// "0s to 1h", or empty.
std::string range_text(const Row& row);

// What the row has without configuration; Auto{} and "auto" for rows whose usual is "auto". Not for
// rows with a pattern.
Value usual_value(const Row& row);

// As it stands in a TOML file behind the "=".
std::string to_toml(const Row& row, const Value& value);

// Whether it can be shown and sent: whole UTF-8 without control characters.
bool is_printable(std::string_view text);

// The words of a row's `choices`.
std::vector<std::string_view> choices_of(const Row& row);

}  // namespace hearth::config
