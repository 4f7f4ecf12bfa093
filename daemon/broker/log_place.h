// Where this process' log goes.
#pragma once

#include <string>

namespace hearth::broker {

// Of standard error: "journal" when systemd reads it, the path of a regular file, else empty (a
// terminal or a pipe, which nobody can read again).
std::string log_place();

}  // namespace hearth::broker
