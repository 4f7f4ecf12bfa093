#include "models/host_state.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

namespace hearth::models {
namespace {

namespace fs = std::filesystem;

constexpr double kMilli = 1000.0;

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code ignored;
  for (fs::directory_iterator each(folder, ignored), end; each != end; each.increment(ignored))
    entries.push_back(each->path());
  return entries;
}

std::optional<double> number_in(const fs::path& file) {
  std::ifstream stream(file);
  double number = 0.0;
  if (stream >> number) return number;
  return std::nullopt;
}

std::optional<double> mean(const std::vector<double>& numbers) {
  if (numbers.empty()) return std::nullopt;
  double sum = 0.0;
  for (const double number : numbers) sum += number;
  return sum / static_cast<double>(numbers.size());
}

// What follows the colon in a line "name : text" of /proc/cpuinfo; nothing for another name.
std::optional<std::string> value_of(const std::string& line, std::string_view name) {
  const std::size_t colon = line.find(':');
  if (!line.starts_with(name) || colon == std::string::npos) return std::nullopt;
  return line.substr(colon + 1);
}

// Only a processor with aperfmperf is asked what it really does; the kernel shows the frequency of
// the others' name plate.
std::optional<double> clock_of_cpuinfo(const fs::path& file) {
  std::ifstream cpuinfo(file);
  std::vector<double> mhz;
  bool is_measured = false;
  for (std::string line; std::getline(cpuinfo, line);) {
    if (const auto flags = value_of(line, "flags"))
      is_measured = is_measured || (*flags + " ").find(" aperfmperf ") != std::string::npos;
    if (const auto text = value_of(line, "cpu MHz")) {
      double number = 0.0;
      if (std::istringstream(*text) >> number) mhz.push_back(number);
    }
  }
  return is_measured ? mean(mhz) : std::nullopt;
}

// MHz of the cores on average.
std::optional<double> clock(const fs::path& root) {
  std::vector<double> mhz;
  for (const fs::path& cpu : entries_of(root / "sys/devices/system/cpu"))
    if (const auto khz = number_in(cpu / "cpufreq/scaling_cur_freq")) mhz.push_back(*khz / kMilli);
  if (const auto known = mean(mhz)) return known;
  return clock_of_cpuinfo(root / "proc/cpuinfo");
}

// The hottest sensor of the processor; those of disks and boards are others'.
std::optional<double> temperature(const fs::path& root) {
  std::optional<double> hottest;
  for (const fs::path& monitor : entries_of(root / "sys/class/hwmon")) {
    std::string name;
    std::ifstream(monitor / "name") >> name;
    if (name != "coretemp" && name != "k10temp" && name != "zenpower" && name != "cpu_thermal")
      continue;
    for (const fs::path& file : entries_of(monitor)) {
      const std::string sensor = file.filename().string();
      if (!sensor.starts_with("temp") || !sensor.ends_with("_input")) continue;
      if (const auto millidegrees = number_in(file))
        hottest = std::max(hottest.value_or(-1e9), *millidegrees / kMilli);
    }
  }
  return hottest;
}

void read_memory(const fs::path& file, contract::DeviceState& state) {
  std::ifstream meminfo(file);
  std::optional<std::uint64_t> total_kib, available_kib;
  for (std::string name, line; meminfo >> name && std::getline(meminfo, line);) {
    std::uint64_t kib = 0;
    if (name != "MemTotal:" && name != "MemAvailable:") continue;
    if (std::istringstream(line) >> kib) (name == "MemTotal:" ? total_kib : available_kib) = kib;
  }
  if (!total_kib || !available_kib || *available_kib > *total_kib) return;
  state.memory_total_bytes = *total_kib << 10;
  state.memory_used_bytes = (*total_kib - *available_kib) << 10;
}

}  // namespace

contract::DeviceState host_state(const std::string& root) {
  contract::DeviceState state;
  state.source = "procfs";
  if (const auto mhz = clock(root)) state.clock_mhz = static_cast<std::uint32_t>(std::lround(*mhz));
  if (const auto degrees = temperature(root); degrees && *degrees >= 0.0)
    state.temperature_c = static_cast<std::uint32_t>(std::lround(*degrees));
  read_memory(fs::path(root) / "proc/meminfo", state);
  return state;
}

}  // namespace hearth::models
