#include "daemon/config/sources.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config/nearest.h"
#include "shm/base/fd.h"

namespace hearth::config {
namespace {

constexpr std::size_t kMostFileBytes = 1u << 20;
constexpr std::size_t kMostDropIns = 100;
constexpr std::size_t kGroupBytes = 1u << 20;  // of a group's entry, with all its members
constexpr std::int64_t kLargestGroup = 0xfffffffell;
constexpr std::string_view kPrefix = "HEARTH_";

// The file's text; none and a problem where that fails, none alone where it may be missing and is.
std::optional<std::string> read_file(const std::string& path, bool must_exist,
                                     std::vector<Problem>& problems) {
  const auto refuse = [&](const std::string& what) {
    problems.push_back({is_printable(path) ? path : "a file", what});
    return std::nullopt;
  };
  if (!is_printable(path)) return refuse("its path cannot be printed, or is not UTF-8");
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file && !must_exist && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (!file) return refuse(fmt::format("cannot be read: {}", std::strerror(errno)));
  struct stat status = {};
  if (fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode))
    return refuse("is not a regular file");
  std::string text(kMostFileBytes + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t n = ::read(file.get(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return refuse(fmt::format("cannot be read: {}", std::strerror(errno)));
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  if (size > kMostFileBytes) return refuse(fmt::format("has more than {} bytes", kMostFileBytes));
  text.resize(size);
  return text;
}

// Paths in the order of their names.
std::vector<std::string> drop_ins(const std::string& folder, std::vector<Problem>& problems) {
  std::vector<std::string> paths;
  std::error_code error;
  std::filesystem::directory_iterator it(folder, error);
  for (const std::filesystem::directory_iterator end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.ends_with(".toml") && !name.starts_with(".")) paths.push_back(it->path().string());
  }
  const bool missing =
      error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory;
  if (error && !missing)
    problems.push_back({folder, fmt::format("cannot be read: {}", error.message())});
  std::sort(paths.begin(), paths.end());
  if (paths.size() > kMostDropIns) {
    problems.push_back({folder, fmt::format("has more than {} files", kMostDropIns)});
    paths.resize(kMostDropIns);
  }
  return paths;
}

void read_one(const std::string& path, bool must_exist, Loaded& loaded) {
  const auto text = read_file(path, must_exist, loaded.problems);
  if (!text) return;
  loaded.files.push_back(path);
  read_toml(*text, path, loaded.settings, loaded.problems);
}

void read_files(const Sources& sources, Loaded& loaded) {
  if (!sources.file.empty()) return read_one(sources.file, true, loaded);
  if (sources.folder.empty()) return;
  read_one(sources.folder + "/hearth.toml", false, loaded);
  for (const std::string& path : drop_ins(sources.folder + "/conf.d", loaded.problems))
    read_one(path, true, loaded);
}

// Others of our programs have variables of their own: only those of a section can be slips.
bool is_of_a_section(std::string_view name) {
  return std::any_of(kTable.begin(), kTable.end(), [&](const Row& row) {
    const std::string_view section = row.key.substr(0, row.key.find('.'));
    return name.starts_with(variable_of(section) + "_");
  });
}

const Row* row_of_variable(std::string_view name) {
  const auto found = std::find_if(kTable.begin(), kTable.end(), [&](const Row& row) {
    return !is_pattern(row) && variable_of(row.key) == name;
  });
  return found == kTable.end() ? nullptr : &*found;
}

std::string unknown_variable(const std::string& name) {
  std::vector<std::string> known;
  for (const Row& row : kTable)
    if (!is_pattern(row)) known.push_back(variable_of(row.key));
  const std::string near = nearest(name, known);
  return near.empty() ? "no setting has this variable"
                      : fmt::format("no setting has this variable; did you mean {}?", near);
}

void read_text(const Row& row, const std::string& key, const std::string& text,
               const std::string& where, Loaded& loaded) {
  ValueOrFault read = read_value(row, text);
  if (!read.fault.empty())
    return loaded.problems.push_back({where, fmt::format("{} {}", key, read.fault)});
  const bool is_option = where.starts_with("-");
  loaded.settings.set(key, {std::move(read.value), is_option ? "command line" : where});
}

void read_environment(const Sources& sources, Loaded& loaded) {
  for (const Variable& variable : sources.environment) {
    if (const Row* row = row_of_variable(variable.name)) {
      read_text(*row, std::string(row->key), variable.text, variable.name, loaded);
    } else if (is_of_a_section(variable.name)) {
      loaded.problems.push_back({variable.name, unknown_variable(variable.name)});
    }
  }
}

void read_arguments(const Sources& sources, Loaded& loaded) {
  for (const Argument& argument : sources.arguments) {
    const Row* row = find_row(argument.key);
    std::string fault;
    if (is_pattern(*row)) fault = fault_of_instance(*row, instance_of(*row, argument.key));
    if (!fault.empty()) {
      loaded.problems.push_back({argument.option, fault});
      continue;
    }
    read_text(*row, argument.key, argument.text, argument.option, loaded);
  }
}

// Of a model without a folder nothing counts.
void check_models(Loaded& loaded) {
  for (const auto& [key, setting] : loaded.settings.all()) {
    const Row* row = find_row(key);
    if (!is_pattern(*row) || section_of(row->key) != "model.*") continue;
    const std::string path = fmt::format("model.{}.path", instance_of(*row, key));
    const Setting* folder = loaded.settings.find(path);
    if (folder == nullptr) {
      loaded.problems.push_back({setting.origin, fmt::format("{} needs {}", key, path)});
    } else if (key == path && std::get<std::string>(folder->value).empty()) {
      loaded.problems.push_back({setting.origin, fmt::format("{} is empty", key)});
    }
  }
}

// The number of the group, which stands there itself or under its name.
void find_admin_group(Loaded& loaded) {
  const Setting& setting = *loaded.settings.find("server.admin_group");
  const std::string& name = std::get<std::string>(setting.value);
  if (name.empty()) return;
  const auto number = read_integer(name);
  if (number && *number >= 0 && *number <= kLargestGroup) {
    loaded.admin_group = static_cast<std::uint32_t>(*number);
    return;
  }
  std::vector<char> buffer(kGroupBytes);
  group entry = {};
  group* found = nullptr;
  const int error = getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found != nullptr) {
    loaded.admin_group = found->gr_gid;
    return;
  }
  loaded.problems.push_back({setting.origin, fmt::format("server.admin_group: the system knows no "
                                                         "group {}{}{}",
                                                         name, error == 0 ? "" : ": ",
                                                         error == 0 ? "" : std::strerror(error))});
}

}  // namespace

Loaded load(const Sources& sources) {
  Loaded loaded;
  read_files(sources, loaded);
  read_environment(sources, loaded);
  read_arguments(sources, loaded);
  check_models(loaded);
  find_admin_group(loaded);
  if (loaded.problems.size() > kMostProblems) loaded.problems.resize(kMostProblems);
  return loaded;
}

std::string default_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  // systemd separates several by colons.
  const std::string given = variable("CONFIGURATION_DIRECTORY");
  if (!given.empty()) return given.substr(0, given.find(':'));
  if (variable("XDG_RUNTIME_DIR").empty()) return "/etc/hearth";
  if (const std::string home = variable("XDG_CONFIG_HOME"); !home.empty()) return home + "/hearth";
  return variable("HOME") + "/.config/hearth";
}

std::vector<Variable> environment() {
  std::vector<Variable> variables;
  for (char** each = environ; each != nullptr && *each != nullptr; ++each) {
    const std::string_view entry = *each;
    const std::size_t sign = entry.find('=');
    if (sign == std::string_view::npos || !entry.starts_with(kPrefix)) continue;
    variables.push_back({std::string(entry.substr(0, sign)), std::string(entry.substr(sign + 1))});
  }
  return variables;
}

std::string variable_of(std::string_view key) {
  std::string name(kPrefix);
  for (const char letter : key) name += letter == '.' ? '_' : upper(letter);
  return name;
}

}  // namespace hearth::config
