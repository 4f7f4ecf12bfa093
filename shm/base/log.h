// One line to the log, formatted with fmt's syntax. The only user of spdlog is log.cpp.
//
// Any thread. Prompts and pictures are never logged.
#pragma once

#include <string_view>

#include <fmt/core.h>

namespace hearth::log {

enum class Level { kDebug, kInfo, kWarning, kError };

// Sends everything from `level` up to standard error, each line marked with `program`.
void start(std::string_view program, Level level);
// Another level from here on. Any thread.
void set_level(Level level);
void write(Level level, std::string_view line);
bool enabled(Level level);

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kDebug))
    write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace hearth::log
