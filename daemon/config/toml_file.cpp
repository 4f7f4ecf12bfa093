#include "daemon/config/toml_file.h"

#include <algorithm>

#include <fmt/format.h>

// Damaged texts break what its parser assumes, which goes on to an error of its own; told so, a
// compiler could make anything of them.
#undef NDEBUG
#define TOML_ASSERT(expr) static_cast<void>(0)
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "daemon/config/nearest.h"

namespace hearth::config {
namespace {

constexpr std::size_t kLongestName = 128;
// Keys with many dots become as many tables, one in the other, and all must fit on the stack.
constexpr std::size_t kLongestLine = 8192;
constexpr std::int64_t kLargestUser = 0xfffffffell;

using Path = std::vector<std::string>;

std::string joined(const Path& path) {
  return fmt::format("{}", fmt::join(path, "."));
}

// Whether the path, or with `as_prefix` its beginning, is the row's, name by name.
bool fits(const Row& row, const Path& path, bool as_prefix) {
  std::string_view rest = row.key;
  for (const std::string& name : path) {
    if (rest.empty()) return false;
    const std::size_t dot = rest.find('.');
    const std::string_view own = rest.substr(0, dot);
    if (own != "*" && own != name) return false;
    rest = dot == std::string_view::npos ? "" : rest.substr(dot + 1);
  }
  return as_prefix ? !rest.empty() : rest.empty();
}

const Row* find(const Path& path, bool as_prefix) {
  const auto found = std::find_if(kTable.begin(), kTable.end(),
                                  [&](const Row& row) { return fits(row, path, as_prefix); });
  return found == kTable.end() ? nullptr : &*found;
}

// Its number from 1; 0: there is none.
std::size_t first_long_line(std::string_view text) {
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t size = text.find('\n');
    if (std::min(size, text.size()) > kLongestLine) return line;
    if (size == std::string_view::npos) break;
    text.remove_prefix(size + 1);
  }
  return 0;
}

// The first line with a letter beyond ASCII that is in neither a text nor a comment, from 1; 0:
// there is none. toml++ 3.3 takes some of them for blanks that cannot be.
std::size_t first_foreign_line(std::string_view text) {
  std::size_t line = 1;
  std::string_view end;  // of the text or comment that it is in
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    if (!end.empty() && rest.starts_with(end)) {
      i += end.size() - 1;
      end = {};
    } else if (!end.empty()) {
      if (rest[0] == '\\' && end[0] == '"') ++i;
    } else if (static_cast<unsigned char>(rest[0]) >= 0x80) {
      return line;
    } else {
      for (const std::string_view mark : {"\"\"\"", "'''", "\"", "'"})
        if (end.empty() && rest.starts_with(mark)) end = mark;
      i += end.empty() ? 0 : end.size() - 1;
      if (rest[0] == '#') end = "\n";
    }
    if (i < text.size() && text[i] == '\n') ++line;
  }
  return 0;
}

std::string name_of_type(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return "a text";
    case toml::node_type::integer:
      return "a whole number";
    case toml::node_type::floating_point:
      return "a number with decimals";
    case toml::node_type::boolean:
      return "true or false";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::table:
      return "a table";
    default:
      return "a date or time";
  }
}

class Reader {
 public:
  Reader(const std::string& file, Settings& settings) : file_(file), settings_(settings) {}

  void read(const toml::table& table) {
    for (const auto& [key, node] : table) {
      path_.emplace_back(key.str());
      read_entry(key, node);
      path_.pop_back();
    }
  }

  // In the order of the file, which is not that of toml++'s tables.
  void report_to(std::vector<Problem>& problems) {
    std::stable_sort(found_.begin(), found_.end(),
                     [](const Found& a, const Found& b) { return a.at < b.at; });
    for (Found& each : found_)
      problems.push_back(
          {fmt::format("{}:{}:{}", file_, each.at.line, each.at.column), std::move(each.what)});
  }

 private:
  void read_entry(const toml::key& key, const toml::node& node) {
    const Row* row = find(path_, false);
    if (row != nullptr) return read_row(*row, key, node);
    const bool is_section = find(path_, true) != nullptr;
    if (is_section && node.is_table()) return read(*node.as_table());
    const std::string name = joined(path_);
    if (is_section)
      return report(node.source(),
                    fmt::format("{} is a section, not {}", name, name_of_type(node)));
    report(key.source(), unknown_key(name));
  }

  void read_row(const Row& row, const toml::key& key, const toml::node& node) {
    const std::string name = joined(path_);
    if (is_pattern(row)) {
      if (const std::string fault = fault_of_instance(row, instance_of(row, name)); !fault.empty())
        return report(key.source(), fmt::format("{}: {}", name, fault));
    }
    ValueOrFault read = value_of(row, node);
    if (!read.fault.empty()) return report(node.source(), fmt::format("{} {}", name, read.fault));
    settings_.set(name,
                  {std::move(read.value), fmt::format("{}:{}", file_, node.source().begin.line)});
  }

  // Numbers may stand for durations (seconds) and sizes (bytes); nothing else changes its type.
  static ValueOrFault value_of(const Row& row, const toml::node& node) {
    const bool is_amount = row.type == Type::kSize || row.type == Type::kDuration;
    if (const auto* text = node.as_string();
        text && (is_amount || row.type == Type::kText || row.type == Type::kChoice))
      return read_value(row, text->get());
    if (const auto* flag = node.as_boolean(); flag && row.type == Type::kFlag)
      return {flag->get(), ""};
    if (const auto* number = node.as_integer();
        number && (is_amount || row.type == Type::kInteger)) {
      if (row.type == Type::kInteger) return checked(row, number->get());
      return read_value(row, std::to_string(number->get()));
    }
    if (const auto* number = node.as_floating_point(); number && row.type == Type::kDuration)
      return read_value(row, fmt::format("{:.3f}", number->get()));
    if (const auto* list = node.as_array(); list && row.type == Type::kUsers)
      return users_of(row, *list);
    return {{}, fmt::format("takes {}, not {}", expected(row), name_of_type(node))};
  }

  static ValueOrFault users_of(const Row& row, const toml::array& list) {
    Users users;
    for (const toml::node& each : list) {
      const auto* user = each.as_integer();
      if (user == nullptr)
        return {{}, fmt::format("takes {}, not {}", expected(row), name_of_type(each))};
      users.push_back(user->get());
    }
    return checked(row, users);
  }

  void report(const toml::source_region& at, std::string what) {
    found_.push_back({at.begin, std::move(what)});
  }

  struct Found {
    toml::source_position at;
    std::string what;
  };

  const std::string& file_;
  Settings& settings_;
  std::vector<Found> found_;
  Path path_;
};

}  // namespace

std::string text_of(const Problem& problem) {
  return fmt::format("{}: {}", problem.where, problem.what);
}

std::string fault_of_instance(const Row& row, std::string_view name) {
  if (row.key.starts_with("quota.uid.")) {
    const auto user = read_integer(name);
    const bool is_user =
        user && *user >= 0 && *user <= kLargestUser && std::to_string(*user) == name;
    return is_user ? "" : "a user id is a number such as 1001";
  }
  if (name.empty() || name.size() > kLongestName || name.find('=') != name.npos ||
      !is_printable(name))
    return fmt::format("a model's name has 1 to {} printable bytes and no = in it", kLongestName);
  return "";
}

std::string unknown_key(std::string_view key) {
  std::vector<std::string> known;
  for (const Row& row : kTable) {
    known.emplace_back(row.key);
    if (!is_pattern(row)) continue;
    // As it would be with the name that was given.
    const std::size_t star = row.key.find('*');
    const std::size_t last = key.rfind('.');
    if (key.starts_with(row.key.substr(0, star)) && last > star && last != std::string_view::npos)
      known.back() = fmt::format("{}.{}", key.substr(0, last), config::name_of(row.key));
  }
  for (const Section& section : kSections) known.emplace_back(section.name);
  const std::string near = nearest(key, known);
  if (near.empty()) return fmt::format("there is no setting {}", key);
  return fmt::format("there is no setting {}; did you mean {}?", key, near);
}

void read_toml(std::string_view text, const std::string& file, Settings& settings,
               std::vector<Problem>& problems) {
  if (const std::size_t line = first_long_line(text); line > 0) {
    problems.push_back({fmt::format("{}:{}:1", file, line),
                        fmt::format("the line has more than {} bytes", kLongestLine)});
    return;
  }
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  if (const std::size_t line = first_foreign_line(text); line > 0) {
    problems.push_back({fmt::format("{}:{}:1", file, line),
                        "this is not TOML: a letter beyond ASCII stands outside of quotes"});
    return;
  }
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const auto at = parsed.error().source().begin;
    problems.push_back({fmt::format("{}:{}:{}", file, at.line, at.column),
                        fmt::format("this is not TOML: {}", parsed.error().description())});
    return;
  }
  Reader reader(file, settings);
  reader.read(parsed.table());
  reader.report_to(problems);
}

}  // namespace hearth::config
