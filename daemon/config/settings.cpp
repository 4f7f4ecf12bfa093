#include "daemon/config/settings.h"

#include <algorithm>
#include <set>

#include "daemon/config/amounts.h"

namespace hearth::config {
namespace {

struct Pattern {
  std::string_view head;  // up to the *
  std::string_view tail;  // behind it
};

Pattern pattern_of(const Row& row) {
  const std::size_t star = row.key.find('*');
  return {row.key.substr(0, star), row.key.substr(star + 1)};
}

bool matches(const Row& row, std::string_view key) {
  const Pattern pattern = pattern_of(row);
  return key.size() > pattern.head.size() + pattern.tail.size() && key.starts_with(pattern.head) &&
         key.ends_with(pattern.tail);
}

std::optional<std::int64_t> number_of(const Settings& settings, const std::string& key) {
  const Setting* setting = settings.find(key);
  if (setting == nullptr) return std::nullopt;
  return std::get<std::int64_t>(setting->value);
}

template <class N>
std::optional<N> as(std::optional<std::int64_t> value) {
  if (!value) return std::nullopt;
  return static_cast<N>(*value);
}

// The names that stand for the * of a section, each once.
std::set<std::string> instances(const Settings& settings, std::string_view section) {
  std::set<std::string> names;
  for (const auto& [key, setting] : settings.all()) {
    const Row* row = find_row(key);
    if (row != nullptr && is_pattern(*row) && section_of(row->key) == section)
      names.emplace(instance_of(*row, key));
  }
  return names;
}

std::string toml_of(const Settings& settings, const std::string& key) {
  const Setting* setting = settings.find(key);
  return setting == nullptr ? "" : to_toml(*find_row(key), setting->value);
}

}  // namespace

const Row* find_row(std::string_view key) {
  if (const std::size_t index = index_of(key); index < kTable.size()) return &kTable[index];
  for (const Row& row : kTable)
    if (is_pattern(row) && matches(row, key)) return &row;
  return nullptr;
}

std::string_view instance_of(const Row& row, std::string_view key) {
  const Pattern pattern = pattern_of(row);
  key.remove_prefix(pattern.head.size());
  key.remove_suffix(pattern.tail.size());
  return key;
}

Settings::Settings() {
  for (const Row& row : kTable)
    if (!is_pattern(row)) values_[std::string(row.key)] = {usual_value(row), "default"};
}

const Setting* Settings::find(std::string_view key) const {
  const auto found = values_.find(std::string(key));
  return found == values_.end() ? nullptr : &found->second;
}

std::optional<std::uint64_t> Settings::size_or_auto(Key<Type::kSize, true> key) const {
  const Value& value = at(key.name);
  if (std::holds_alternative<Auto>(value)) return std::nullopt;
  return static_cast<std::uint64_t>(std::get<std::int64_t>(value));
}

std::vector<std::uint32_t> Settings::users(Key<Type::kUsers> key) const {
  const Users& users = std::get<Users>(at(key.name));
  return {users.begin(), users.end()};
}

std::vector<PublishedModel> Settings::models() const {
  std::vector<PublishedModel> models;
  for (const std::string& name : instances(*this, "model.*")) {
    PublishedModel model;
    model.name = name;
    const Setting* path = find("model." + name + ".path");
    if (path == nullptr) continue;
    model.path = std::get<std::string>(path->value);
    if (const Setting* dtype = find("model." + name + ".dtype"))
      model.dtype = std::get<std::string>(dtype->value);
    if (const Setting* pin = find("model." + name + ".pin")) model.pin = std::get<bool>(pin->value);
    models.push_back(std::move(model));
  }
  return models;
}

std::vector<UserQuota> Settings::user_quotas() const {
  std::vector<UserQuota> quotas;
  for (const std::string& name : instances(*this, "quota.uid.*")) {
    const std::string section = "quota.uid." + name + ".";
    UserQuota quota;
    quota.user = static_cast<std::uint32_t>(*read_integer(name));
    quota.connections = as<std::uint32_t>(number_of(*this, section + "connections"));
    quota.open_requests = as<std::uint32_t>(number_of(*this, section + "open_requests"));
    quota.arenas = as<std::uint32_t>(number_of(*this, section + "arenas"));
    quota.memory_bytes = as<std::uint64_t>(number_of(*this, section + "memory"));
    quota.tensors = as<std::uint32_t>(number_of(*this, section + "tensors"));
    quotas.push_back(quota);
  }
  return quotas;
}

std::vector<std::string> Settings::keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, setting] : values_) keys.push_back(key);
  std::stable_sort(keys.begin(), keys.end(), [](const std::string& a, const std::string& b) {
    return find_row(a) < find_row(b);
  });
  return keys;
}

std::vector<Change> changes(const Settings& before, const Settings& after) {
  Settings all = before;
  for (const auto& [key, setting] : after.all()) all.set(key, setting);
  std::vector<Change> found;
  for (const std::string& key : all.keys()) {
    const Setting* is = before.find(key);
    const Setting* will_be = after.find(key);
    if (is != nullptr && will_be != nullptr && is->value == will_be->value) continue;
    found.push_back({key, toml_of(before, key), toml_of(after, key),
                     will_be == nullptr ? "default" : will_be->origin,
                     find_row(key)->takes_effect});
  }
  return found;
}

Settings with_live(const Settings& running, const Settings& next) {
  Settings result = next;
  for (const Change& change : changes(running, next)) {
    if (change.takes_effect != TakesEffect::kRestart) continue;
    const Setting* is = running.find(change.key);
    if (is == nullptr) {
      result.erase(change.key);
    } else {
      result.set(change.key, *is);
    }
  }
  return result;
}

std::string_view to_string(TakesEffect takes_effect) {
  switch (takes_effect) {
    case TakesEffect::kLive:
      return "live";
    case TakesEffect::kNextLoad:
      return "next_load";
    case TakesEffect::kRestart:
      break;
  }
  return "restart";
}

}  // namespace hearth::config
