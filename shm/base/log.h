// Lines of the log, formatted with fmt's syntax. The only user of spdlog is log.cpp.
//
// A line that others may look for is an event: it has a stable name, and what it is about stands in
// fields as well as in its text. Three formats: text for people (message only), json (one object a
// line), journal (systemd's, fields as HEARTH_NAME). Text from outside goes through printable() or
// the like before it gets here; what is no UTF-8 is replaced.
//
// Any thread after start(). Prompts, answers and pictures are never logged, but for the event
// "prompt", which the service writes only where its configuration asks for it.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include <fmt/core.h>

namespace hearth::log {

enum class Level { kDebug, kInfo, kWarning, kError };

// kAuto: journal where standard error is the journal ($JOURNAL_STREAM), else text.
enum class Format { kAuto, kText, kJson, kJournal };

// One thing that a line is about: request, client, uid, model, ms, …; names are snake_case words.
// Lives as long as the call that it is an argument of.
struct Field {
  std::string_view name;
  std::variant<std::string_view, std::int64_t, std::uint64_t, double> value;

  Field(std::string_view n, std::string_view text) : name(n), value(text) {}
  Field(std::string_view n, const std::string& text) : name(n), value(std::string_view(text)) {}
  Field(std::string_view n, const char* text) : name(n), value(std::string_view(text)) {}
  Field(std::string_view n, double number) : name(n), value(number) {}
  template <std::signed_integral N>
  Field(std::string_view n, N number) : name(n), value(static_cast<std::int64_t>(number)) {}
  template <std::unsigned_integral N>
  Field(std::string_view n, N number) : name(n), value(static_cast<std::uint64_t>(number)) {}
};
using Fields = std::initializer_list<Field>;

// Sends everything from `level` up to standard error, each line marked with `program`. May be
// called again, by the same thread, to change level or format.
void start(std::string_view program, Level level, Format format = Format::kAuto);
// Only the level. Any thread.
void set_level(Level level);
bool enabled(Level level);
// `event` "": a line that nobody looks for.
void write(Level level, std::string_view event, Fields fields, std::string_view line);

// The words of the configuration: debug, info, warning, error; auto, text, json, journal. What is
// none of them counts as info, as auto.
Level level_named(std::string_view word);
Format format_named(std::string_view word);

// A line as one JSON object, without an end of line. For write() and tests.
std::string as_json(Level level, std::string_view event, Fields fields, std::string_view line,
                    std::string_view program, std::int64_t unix_ms);

template <class... Args>
void event(Level level, std::string_view name, Fields fields, fmt::format_string<Args...> format,
           Args&&... args) {
  if (enabled(level)) write(level, name, fields, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  event(Level::kDebug, "", {}, format, std::forward<Args>(args)...);
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  event(Level::kInfo, "", {}, format, std::forward<Args>(args)...);
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  event(Level::kWarning, "", {}, format, std::forward<Args>(args)...);
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  event(Level::kError, "", {}, format, std::forward<Args>(args)...);
}

}  // namespace hearth::log
