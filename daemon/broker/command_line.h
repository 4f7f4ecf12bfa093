// hearthd's command line: one option for each row of daemon/config/table.h that names one, and the
// few that say what to do instead of serving. The only user of CLI11 in the broker.
#pragma once

#include <optional>

#include "daemon/config/sources.h"

namespace hearth::broker {

enum class Task { kServe, kCheck, kPrintDocument, kPrintExample, kPrintSchema };

struct CommandLine {
  Task task = Task::kServe;
  config::Sources sources;  // with the process's environment
};

// None: the process ends with `exit_code`, and has said why (--help, --version, an unknown option).
std::optional<CommandLine> read_command_line(int argc, char** argv, int& exit_code);

}  // namespace hearth::broker
