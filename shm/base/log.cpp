#include "shm/base/log.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <vector>

#include <fmt/chrono.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "shm/base/text.h"

namespace hearth::log {

namespace {

std::atomic<Format> chosen_format = Format::kText;
std::string program_name;  // set by start() only

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::string_view name_of(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
  }
  return "error";
}

int priority_of(Level level) {
  switch (level) {
    case Level::kDebug:
      return LOG_DEBUG;
    case Level::kInfo:
      return LOG_INFO;
    case Level::kWarning:
      return LOG_WARNING;
    case Level::kError:
      return LOG_ERR;
  }
  return LOG_ERR;
}

// systemd names the device and inode of the socket that it connected: somebody may have redirected
// standard error since.
bool is_journal_connected() {
  const char* named = std::getenv("JOURNAL_STREAM");
  struct stat ours = {};
  if (named == nullptr || fstat(STDERR_FILENO, &ours) != 0) return false;
  return named == fmt::format("{}:{}", ours.st_dev, ours.st_ino);
}

std::string text_of(const Field& field) {
  return std::visit([](const auto& value) { return fmt::format("{}", value); }, field.value);
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : whole_utf8(text)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_value(std::string& out, const Field& field) {
  if (const auto* text = std::get_if<std::string_view>(&field.value)) {
    append_quoted(out, *text);
  } else if (const auto* number = std::get_if<double>(&field.value)) {
    out += std::isfinite(*number) ? fmt::format("{}", *number) : "null";
  } else {
    out += text_of(field);
  }
}

// The names of the journal's fields are in capitals; ours have a prefix, so that they meet
// nobody's.
std::string journal_name(std::string_view name) {
  std::string made = "HEARTH_";
  for (const char c : name) made += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return made;
}

void write_to_journal(Level level, std::string_view event, Fields fields, std::string_view line) {
  std::vector<std::string> entries = {fmt::format("MESSAGE={}", line),
                                      fmt::format("PRIORITY={}", priority_of(level)),
                                      "SYSLOG_IDENTIFIER=" + program_name};
  if (!event.empty()) entries.push_back(fmt::format("HEARTH_EVENT={}", event));
  for (const Field& field : fields)
    entries.push_back(journal_name(field.name) + "=" + text_of(field));
  std::vector<iovec> parts;
  for (std::string& entry : entries) parts.push_back({entry.data(), entry.size()});
  sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
}

}  // namespace

void start(std::string_view program, Level level, Format format) {
  if (format == Format::kAuto) format = is_journal_connected() ? Format::kJournal : Format::kText;
  program_name = program;
  chosen_format = format;
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  auto logger = std::make_shared<spdlog::logger>(std::string(program), std::move(sink));
  logger->set_pattern(format == Format::kJson ? "%v" : "%Y-%m-%dT%H:%M:%S.%e %n[%P] %l: %v");
  logger->set_level(to_spdlog(level));
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(std::move(logger));
}

void set_level(Level level) {
  spdlog::default_logger_raw()->set_level(to_spdlog(level));
}

bool enabled(Level level) {
  return spdlog::default_logger_raw()->should_log(to_spdlog(level));
}

void write(Level level, std::string_view event, Fields fields, std::string_view line) {
  spdlog::logger& logger = *spdlog::default_logger_raw();
  if (!logger.should_log(to_spdlog(level))) return;
  switch (chosen_format.load()) {
    case Format::kJournal:
      return write_to_journal(level, event, fields, line);
    case Format::kJson: {
      const auto now = std::chrono::system_clock::now().time_since_epoch();
      const auto unix_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
      return logger.log(to_spdlog(level),
                        as_json(level, event, fields, line, program_name, unix_ms));
    }
    default:
      return logger.log(to_spdlog(level), line);
  }
}

std::string as_json(Level level, std::string_view event, Fields fields, std::string_view line,
                    std::string_view program, std::int64_t unix_ms) {
  const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::string out = fmt::format("{{\"ts\":\"{:%Y-%m-%dT%H:%M:%S}.{:03}Z\",\"level\":\"{}\"",
                                fmt::gmtime(seconds), unix_ms % 1000, name_of(level));
  if (!event.empty()) out += fmt::format(",\"event\":\"{}\"", event);
  out += ",\"program\":";
  append_quoted(out, program);
  out += fmt::format(",\"process\":{},\"msg\":", getpid());
  append_quoted(out, line);
  for (const Field& field : fields) {
    out += fmt::format(",\"{}\":", field.name);
    append_value(out, field);
  }
  return out + "}";
}

Level level_named(std::string_view word) {
  if (word == "debug") return Level::kDebug;
  if (word == "warning") return Level::kWarning;
  return word == "error" ? Level::kError : Level::kInfo;
}

Format format_named(std::string_view word) {
  if (word == "text") return Format::kText;
  if (word == "json") return Format::kJson;
  return word == "journal" ? Format::kJournal : Format::kAuto;
}

}  // namespace hearth::log
