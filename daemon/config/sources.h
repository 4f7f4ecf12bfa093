// Where settings come from, and all of them read together.
//
// Later ones win, setting by setting: the defaults, FOLDER/hearth.toml, FOLDER/conf.d/*.toml in the
// order of their names, the environment (HEARTH_SECTION_NAME), the command line. --config FILE
// takes the place of the folder's files.
//
// Sources are a value that does not change while the service runs: reading them again is what a
// reload does. load() reads files, so it can block: off the loop. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/config/settings.h"
#include "daemon/config/toml_file.h"

namespace hearth::config {

// One option of the command line, as it was given.
struct Argument {
  std::string key;
  std::string option;  // as problems name it
  std::string text;
};

struct Variable {
  std::string name;
  std::string text;
};

struct Sources {
  std::string file;    // --config; must exist. Empty: those of the folder
  std::string folder;  // whose hearth.toml and conf.d need not exist
  std::vector<Variable> environment;
  std::vector<Argument> arguments;
};

struct Loaded {
  Settings settings;
  std::vector<std::string> files;            // that were read, in this order; at most 101
  std::vector<Problem> problems;             // with any, the settings are not to be used
  std::optional<std::uint32_t> admin_group;  // the number of server.admin_group
};

// What was wrong is in problems, all of it at once, at most kMostProblems.
Loaded load(const Sources& sources);
inline constexpr std::size_t kMostProblems = 200;

// $CONFIGURATION_DIRECTORY (of systemd); for a user's service ($XDG_RUNTIME_DIR is set)
// $XDG_CONFIG_HOME/hearth or ~/.config/hearth; else /etc/hearth.
std::string default_folder();
// The variables that begin with HEARTH_.
std::vector<Variable> environment();
// HEARTH_SERVER_DRAIN for server.drain.
std::string variable_of(std::string_view key);

}  // namespace hearth::config
