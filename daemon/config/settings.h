// The settings that count, each with where it was said.
//
// Settings are a value: reading files makes a new one and changes nothing else, so a reload can be
// examined, compared and thrown away. Not synchronised.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config/amounts.h"
#include "daemon/config/value.h"

namespace hearth::config {

// The key of a row of this type, checked when the program is compiled.
template <Type kType, bool kMayBeAuto = false>
struct Key {
  std::string_view name;
  consteval Key(const char* key) : name(key) {  // NOLINT: implicit, as a format string's
    const std::size_t index = index_of(name);
    if (index == kTable.size()) throw "there is no such setting in table.h";
    const Row& row = kTable[index];
    if (row.type != kType) throw "the setting has another type";
    if (kType != Type::kText && (row.usual == "auto") != kMayBeAuto && kType != Type::kChoice)
      throw "size_or_auto() is for settings whose usual value is auto, size() for the others";
  }
  constexpr std::string_view usual() const { return kTable[index_of(name)].usual; }
};

// Defaults of the table, for Config's members.
constexpr std::chrono::milliseconds usual_duration(Key<Type::kDuration> key) {
  return std::chrono::milliseconds(*read_duration(key.usual()));
}
constexpr std::uint64_t usual_size(Key<Type::kSize> key) {
  return static_cast<std::uint64_t>(*read_size(key.usual()));
}
constexpr std::uint32_t usual_integer(Key<Type::kInteger> key) {
  return static_cast<std::uint32_t>(*read_integer(key.usual()));
}

struct PublishedModel {
  std::string name;
  std::string path;
  std::string dtype = "auto";
  bool pin = false;
};

// What one user may hold, where it differs from quota.default.
struct UserQuota {
  std::uint32_t user = 0;
  std::optional<std::uint32_t> connections;
  std::optional<std::uint32_t> open_requests;
  std::optional<std::uint32_t> arenas;
  std::optional<std::uint64_t> memory_bytes;
  std::optional<std::uint32_t> tensors;
};

struct Setting {
  Value value;
  std::string origin = "default";  // "command line", HEARTH_…, FILE:LINE
};

class Settings {
 public:
  Settings();  // every row's default

  bool flag(Key<Type::kFlag> key) const { return std::get<bool>(at(key.name)); }
  std::uint32_t integer(Key<Type::kInteger> key) const {
    return static_cast<std::uint32_t>(number(key.name));
  }
  std::uint64_t size(Key<Type::kSize> key) const {
    return static_cast<std::uint64_t>(number(key.name));
  }
  std::optional<std::uint64_t> size_or_auto(Key<Type::kSize, true> key) const;
  std::chrono::milliseconds duration(Key<Type::kDuration> key) const {
    return std::chrono::milliseconds(number(key.name));
  }
  const std::string& text(Key<Type::kText> key) const {
    return std::get<std::string>(at(key.name));
  }
  const std::string& choice(Key<Type::kChoice> key) const {
    return std::get<std::string>(at(key.name));
  }
  std::vector<std::uint32_t> users(Key<Type::kUsers> key) const;

  std::vector<PublishedModel> models() const;  // by name; those with a path
  std::vector<UserQuota> user_quotas() const;  // by user

  // All that are set, in the order of the table; of a pattern, by name.
  const std::map<std::string, Setting>& all() const { return values_; }
  std::vector<std::string> keys() const;
  const Setting* find(std::string_view key) const;
  void set(const std::string& key, Setting setting) {
    values_.insert_or_assign(key, std::move(setting));
  }
  void erase(const std::string& key) { values_.erase(key); }

 private:
  const Value& at(std::string_view key) const { return find(key)->value; }
  std::int64_t number(std::string_view key) const { return std::get<std::int64_t>(at(key)); }

  std::map<std::string, Setting> values_;
};

// The row of a key, also where it has a name in the place of `*`: model.NAME.path, where NAME may
// have dots. Null: there is none.
const Row* find_row(std::string_view key);
// What stands for the `*` of this row in the key.
std::string_view instance_of(const Row& row, std::string_view key);

struct Change {
  std::string key;
  std::string before;  // as TOML; empty: it was not set
  std::string after;
  std::string origin;  // of the later value
  TakesEffect takes_effect = TakesEffect::kRestart;
};
// In the order of the table.
std::vector<Change> changes(const Settings& before, const Settings& after);

// `running` with those of `next` that need no restart. What comes out is what runs from here on.
Settings with_live(const Settings& running, const Settings& next);

std::string_view to_string(TakesEffect takes_effect);  // as in the contract

}  // namespace hearth::config
