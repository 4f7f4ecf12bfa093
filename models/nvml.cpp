#include "models/nvml.h"

#include <string_view>
#include <utility>

#include <dlfcn.h>
#include <fmt/format.h>

namespace hearth::models {
namespace {

constexpr int kGpuIsLost = 15, kResetRequired = 16;  // nvmlReturn_t
constexpr unsigned kClockSm = 1, kClockMemory = 2;   // nvmlClockType_t
constexpr unsigned kTemperatureGpu = 0;              // nvmlTemperatureSensors_t
constexpr double kMilliwatts = 1000.0;               // a watt

struct Memory {  // nvmlMemory_t
  unsigned long long total = 0, free = 0, used = 0;
};

struct Reason {
  std::uint64_t bit;
  std::string_view name;
};
constexpr std::uint64_t kIdle = 0x1;
constexpr Reason kReasons[] = {
    {0x2, "application_clocks"}, {0x4, "power_cap"},        {0x8, "hardware_slowdown"},
    {0x10, "sync_boost"},        {0x20, "thermal"},         {0x40, "hardware_thermal"},
    {0x80, "power_brake"},       {0x100, "display_clocks"},
};

}  // namespace

std::vector<std::string> throttle_names(std::uint64_t reasons) {
  std::vector<std::string> names;
  std::uint64_t known = kIdle;
  for (const Reason& reason : kReasons) {
    known |= reason.bit;
    if ((reasons & reason.bit) != 0) names.emplace_back(reason.name);
  }
  if ((reasons & ~known) != 0) names.push_back(fmt::format("reason_{:#x}", reasons & ~known));
  return names;
}

Nvml::Nvml(std::string library, std::string pci_bus_id)
    : library_(std::move(library)), pci_bus_id_(std::move(pci_bus_id)) {}

Nvml::~Nvml() {
  if (started_) call("nvmlShutdown");
  if (handle_ != nullptr) ::dlclose(handle_);
}

// NVML's functions give 0 when they succeed; what else they give is a number with a text.
template <class... Args>
bool Nvml::call(const char* name, Args... args) {
  using Function = int (*)(Args...);
  const auto function = reinterpret_cast<Function>(::dlsym(handle_, name));
  const int code = function == nullptr ? -1 : function(args...);
  if (code == 0) return true;
  const bool is_lost = code == kGpuIsLost || code == kResetRequired;
  if (!trouble_.empty() && !is_lost) return false;
  using Text = const char* (*)(int);
  const auto text = reinterpret_cast<Text>(::dlsym(handle_, "nvmlErrorString"));
  const char* const words = function == nullptr ? "is not there" : text ? text(code) : nullptr;
  trouble_ = words ? fmt::format("{}: {}", name, words) : fmt::format("{}: error {}", name, code);
  if (is_lost) lost_ = trouble_;
  return false;
}

bool Nvml::open() {
  if (std::exchange(tried_, true)) return device_ != nullptr;
  handle_ = ::dlopen(library_.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) {
    trouble_ = fmt::format("{} cannot be opened", library_);
    return false;
  }
  started_ = call("nvmlInit_v2");
  Device device = nullptr;
  if (started_ && call("nvmlDeviceGetHandleByPciBusId_v2", pci_bus_id_.c_str(), &device))
    device_ = device;
  return device_ != nullptr;
}

contract::DeviceState Nvml::read() {
  contract::DeviceState state;
  if (open()) {
    trouble_.clear();
    read_clocks(state);
    read_power(state);
    read_throttling(state);
    read_memory(state);
  }
  const bool has_numbers = state.clock_mhz || state.memory_clock_mhz || state.power_w ||
                           state.power_limit_w || state.temperature_c || state.memory_used_bytes;
  state.source = has_numbers ? "nvml" : "no nvml: " + trouble_;
  return state;
}

void Nvml::read_clocks(contract::DeviceState& state) {
  unsigned mhz = 0, degrees = 0;
  if (call("nvmlDeviceGetClockInfo", device_, kClockSm, &mhz)) state.clock_mhz = mhz;
  if (call("nvmlDeviceGetClockInfo", device_, kClockMemory, &mhz)) state.memory_clock_mhz = mhz;
  if (call("nvmlDeviceGetTemperature", device_, kTemperatureGpu, &degrees))
    state.temperature_c = degrees;
}

void Nvml::read_power(contract::DeviceState& state) {
  unsigned milliwatts = 0;
  if (call("nvmlDeviceGetPowerUsage", device_, &milliwatts))
    state.power_w = milliwatts / kMilliwatts;
  if (call("nvmlDeviceGetEnforcedPowerLimit", device_, &milliwatts))
    state.power_limit_w = milliwatts / kMilliwatts;
}

// An empty list says that nothing holds the clock down, so what is not known has a word of its own.
// The call was renamed with driver 535.
void Nvml::read_throttling(contract::DeviceState& state) {
  unsigned long long reasons = 0;
  if (call("nvmlDeviceGetCurrentClocksEventReasons", device_, &reasons) ||
      call("nvmlDeviceGetCurrentClocksThrottleReasons", device_, &reasons))
    state.throttled_by = throttle_names(reasons);
  else
    state.throttled_by = {"unknown"};
}

void Nvml::read_memory(contract::DeviceState& state) {
  Memory memory;
  if (!call("nvmlDeviceGetMemoryInfo", device_, &memory)) return;
  state.memory_used_bytes = memory.used;
  state.memory_total_bytes = memory.total;
}

}  // namespace hearth::models
