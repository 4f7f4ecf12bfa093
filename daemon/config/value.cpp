#include "daemon/config/value.h"

#include <algorithm>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "daemon/config/amounts.h"

namespace hearth::config {
namespace {

constexpr std::size_t kMostTextBytes = 2000;  // twice that fits into a message, as TOML
constexpr std::size_t kMostShownBytes = 100;
constexpr std::size_t kMostUsers = 256;
constexpr std::int64_t kLargestUser = std::numeric_limits<std::uint32_t>::max() - 1ll;

std::optional<std::int64_t> read_number(Type type, std::string_view text) {
  if (type == Type::kSize) return read_size(text);
  if (type == Type::kDuration) return read_duration(text);
  return read_integer(text);
}

bool is_number(Type type) {
  return type == Type::kInteger || type == Type::kSize || type == Type::kDuration;
}

// Bytes of the character that begins here; 0: none does.
std::size_t character_at(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return lead < 0x20 || lead == 0x7f ? 0 : 1;
  const std::size_t size = lead < 0xc2   ? 0
                           : lead < 0xe0 ? 2
                           : lead < 0xf0 ? 3
                           : lead < 0xf5 ? 4
                                         : 0;
  if (size == 0 || text.size() < size) return 0;
  // Overlong forms, surrogates, and what is beyond Unicode.
  if ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f)) return 0;
  if ((lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) > 0x8f)) return 0;
  for (std::size_t i = 1; i < size; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  return size;
}

std::string shown(std::string_view text) {
  if (text.size() > kMostShownBytes) return fmt::format("{} bytes", text.size());
  return is_printable(text) ? fmt::format("'{}'", text) : "what cannot be printed";
}

ValueOrFault not_of_type(const Row& row, std::string_view text) {
  return {{}, fmt::format("takes {}, not {}", expected(row), shown(text))};
}

ValueOrFault read_users(const Row& row, std::string_view text) {
  Users users;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const auto user = read_integer(text.substr(0, comma));
    if (!user) return not_of_type(row, text.substr(0, comma));
    users.push_back(*user);
    text = comma == std::string_view::npos ? "" : text.substr(comma + 1);
  }
  return checked(row, users);
}

ValueOrFault read_flag(const Row& row, std::string_view text) {
  for (const std::string_view yes : {"TRUE", "YES", "ON", "1"})
    if (is_same_word(text, yes)) return {true, ""};
  for (const std::string_view no : {"FALSE", "NO", "OFF", "0"})
    if (is_same_word(text, no)) return {false, ""};
  return not_of_type(row, text);
}

// Of what is printable.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') out += '\\';
    out += letter;
  }
  return out + '"';
}

std::string fault_of(const Row& row, const std::string& text) {
  if (text.size() > kMostTextBytes)
    return fmt::format("has {} bytes, over {}", text.size(), kMostTextBytes);
  if (!is_printable(text)) return "has characters that cannot be printed, or is not UTF-8";
  if (row.type != Type::kChoice) return "";
  const auto words = choices_of(row);
  const bool known = std::find(words.begin(), words.end(), text) != words.end();
  return known ? "" : fmt::format("takes {}, not {}", expected(row), shown(text));
}

std::string fault_of(const Row& row, std::int64_t value) {
  const bool is_low = value < (row.least.empty() ? 0 : *read_number(row.type, row.least));
  const bool is_high = !row.most.empty() && value > *read_number(row.type, row.most);
  if (!is_low && !is_high) return "";
  const std::string range = range_text(row);
  return fmt::format("is {}, which is not {}", to_toml(row, value),
                     range.empty() ? "0 or more" : "from " + range);
}

std::string fault_of(const Users& users) {
  if (users.size() > kMostUsers)
    return fmt::format("names {} users, over {}", users.size(), kMostUsers);
  for (const std::int64_t user : users)
    if (user < 0 || user > kLargestUser) return fmt::format("has {}, which is no user id", user);
  return "";
}

}  // namespace

bool is_printable(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = character_at(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

std::vector<std::string_view> choices_of(const Row& row) {
  std::vector<std::string_view> words;
  std::string_view rest = row.choices;
  while (!rest.empty()) {
    const std::size_t bar = rest.find('|');
    words.push_back(rest.substr(0, bar));
    rest = bar == std::string_view::npos ? "" : rest.substr(bar + 1);
  }
  return words;
}

std::string range_text(const Row& row) {
  return row.least.empty() ? "" : fmt::format("{} to {}", row.least, row.most);
}

std::string expected(const Row& row) {
  const std::string_view or_auto = row.usual == "auto" ? ", or auto" : "";
  switch (row.type) {
    case Type::kFlag:
      return "true or false";
    case Type::kInteger:
      return "a whole number";
    case Type::kSize:
      return fmt::format("a size such as 20GiB{}", or_auto);
    case Type::kDuration:
      return "a duration such as 45s";
    case Type::kText:
      return "a text";
    case Type::kChoice: {
      const auto words = choices_of(row);
      return fmt::format("one of {}", fmt::join(words, ", "));
    }
    case Type::kUsers:
      return "user ids, which are numbers";
  }
  return "";
}

ValueOrFault checked(const Row& row, Value value) {
  std::string fault;
  if (const auto* text = std::get_if<std::string>(&value)) fault = fault_of(row, *text);
  if (const auto* number = std::get_if<std::int64_t>(&value)) fault = fault_of(row, *number);
  if (const auto* users = std::get_if<Users>(&value)) fault = fault_of(*users);
  return {std::move(value), std::move(fault)};
}

ValueOrFault read_value(const Row& row, std::string_view text) {
  if (is_number(row.type)) {
    if (row.usual == "auto" && text == "auto") return {Auto{}, ""};
    const auto number = read_number(row.type, text);
    return number ? checked(row, *number) : not_of_type(row, text);
  }
  if (row.type == Type::kFlag) return read_flag(row, text);
  if (row.type == Type::kUsers) return read_users(row, text);
  return checked(row, std::string(text));
}

Value usual_value(const Row& row) {
  return read_value(row, row.usual).value;
}

std::string to_toml(const Row& row, const Value& value) {
  if (std::holds_alternative<Auto>(value)) return "\"auto\"";
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* text = std::get_if<std::string>(&value)) return quoted(*text);
  if (const auto* users = std::get_if<Users>(&value))
    return fmt::format("[{}]", fmt::join(*users, ", "));
  const std::int64_t number = std::get<std::int64_t>(value);
  if (row.type == Type::kSize) return quoted(size_text(number));
  if (row.type == Type::kDuration) return quoted(duration_text(number));
  return std::to_string(number);
}

}  // namespace hearth::config
