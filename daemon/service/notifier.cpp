#include "daemon/service/notifier.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include "shm/base/log.h"

namespace hearth::service {
namespace {

// systemd compares it with its own reading, to tell this reload from an earlier one.
std::int64_t monotonic_usec() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

std::string extension(std::chrono::milliseconds more) {
  return fmt::format("EXTEND_TIMEOUT_USEC={}\n", std::chrono::microseconds(more).count());
}

}  // namespace

Notifier::Notifier() {
  const char* socket = std::getenv("NOTIFY_SOCKET");
  heard_ = socket != nullptr && *socket != '\0';
  std::uint64_t allowed_usec = 0;
  if (heard_ && sd_watchdog_enabled(0, &allowed_usec) > 0)
    ping_every_ = std::chrono::microseconds(allowed_usec / 2);
}

// Two messages: systemd takes the words of one in an order of its own, and a ping that came last
// would take the extension back.
void Notifier::needs(std::chrono::milliseconds more) {
  if (ping_every_.count() > 0) send("WATCHDOG=1\n");
  send(extension(more));
}

void Notifier::ready(std::string_view status) {
  tell("READY=1\n", status);
}

void Notifier::reloading() {
  send(fmt::format("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_usec()));
}

void Notifier::stopping(std::string_view status, std::chrono::milliseconds most) {
  tell("STOPPING=1\n" + extension(most), status);
}

Clock::time_point Notifier::tick(Clock::time_point now, bool healthy, std::string_view status) {
  Clock::time_point again = now + kStatusEvery;
  std::string lines;
  if (ping_every_.count() > 0) {
    if (now >= next_ping_ && healthy) {
      lines = "WATCHDOG=1\n";
      next_ping_ = now + ping_every_;
    }
    again = std::min(again, now + ping_every_ / 4);
  }
  if (status != told_ && now >= next_status_) {
    next_status_ = now + kStatusEvery;
    tell(lines, status);
  } else if (!lines.empty()) {
    send(lines);
  }
  return again;
}

void Notifier::tell(const std::string& lines, std::string_view status) {
  told_ = status;
  std::string line(status);
  std::replace(line.begin(), line.end(), '\n', ' ');  // the next line would be another word of ours
  send(lines + "STATUS=" + line + "\n");
}

void Notifier::send(std::string_view lines) const {
  if (!heard_) return;
  const int sent = sd_notify(0, std::string(lines).c_str());
  if (sent < 0) log::warning("cannot tell systemd: {}", std::strerror(-sent));
}

}  // namespace hearth::service
