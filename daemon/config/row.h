// What one row of the table of settings says (table.h).
//
// Constants only; any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace hearth::config {

enum class Type {
  kFlag,      // true or false
  kInteger,   // least..most
  kSize,      // bytes: 20GiB
  kDuration,  // milliseconds inside: 45s, 200ms, 10min
  kText,
  kChoice,  // one word of `choices`
  kUsers,   // numeric user ids
};

// next_load: it counts for what the next load of a model does.
enum class TakesEffect { kLive, kNextLoad, kRestart };

struct Row {
  // section.name, where a section may have dots. A `*` stands for the name of a model, or for a
  // user id: there may be any number of these, and none of them has a default.
  std::string_view key;
  std::string_view option = "";  // of hearthd; "--no-…": it takes no value and says false
  Type type = Type::kText;
  std::string_view usual = "";    // the default as it would be written; "auto": see help
  std::string_view least = "";    // of integers, sizes, durations
  std::string_view most = "";     // …
  std::string_view choices = "";  // separated by |
  TakesEffect takes_effect = TakesEffect::kRestart;
  std::string_view help = "";
};

struct Section {
  std::string_view name;
  std::string_view help;
};

constexpr bool is_pattern(const Row& row) {
  return row.key.find('*') != std::string_view::npos;
}

constexpr std::string_view section_of(std::string_view key) {
  return key.substr(0, key.rfind('.'));
}

constexpr std::string_view name_of(std::string_view key) {
  return key.substr(key.rfind('.') + 1);
}

}  // namespace hearth::config
