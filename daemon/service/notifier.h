// What the service manager is told: that the service is ready, lives, reloads or stops, in one line
// what it does, and when something takes longer than the unit allows.
//
// Holds no descriptor and no timer: whoever owns the event loop calls tick() when it asks to be
// called, so that a loop which is stuck tells nothing. Without NOTIFY_SOCKET in the environment
// every call does nothing. One thread. Survives exec: all that counts is in the environment.
// Source of the words: sd_notify(3), sd_watchdog_enabled(3).
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace hearth::service {

using Clock = std::chrono::steady_clock;

class Notifier {
 public:
  // Reads NOTIFY_SOCKET and WATCHDOG_USEC of the environment.
  Notifier();

  // Whether anybody listens; without, tick() need not be called.
  bool is_heard() const { return heard_; }
  // Pings are due so often: half of what the unit allows. Zero: the unit has no watchdog.
  std::chrono::microseconds ping_every() const { return ping_every_; }

  // What is under way, a start, a reload or a stop, may take so much more from here on, and the
  // watchdog hears nothing for as long.
  void needs(std::chrono::milliseconds more);
  // The service takes requests: said once at the start, and again when a reload has ended.
  void ready(std::string_view status);
  // Settings are being read again, until ready().
  void reloading();
  // The service ends within `most`, in which open requests may end.
  void stopping(std::string_view status, std::chrono::milliseconds most);

  // Pings the watchdog when that is due and the service is `healthy`, and tells `status` if it
  // differs from what was told, at most once a second. Returns when to call again.
  Clock::time_point tick(Clock::time_point now, bool healthy, std::string_view status);

 private:
  static constexpr std::chrono::seconds kStatusEvery{1};

  void send(std::string_view lines) const;
  void tell(const std::string& lines, std::string_view status);

  bool heard_ = false;
  std::chrono::microseconds ping_every_{0};
  Clock::time_point next_ping_;
  Clock::time_point next_status_;
  std::string told_;
};

}  // namespace hearth::service
