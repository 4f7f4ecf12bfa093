// A management library with one device, whose calls fail when the test says so. Declarations as in
// nvml.h of the NVIDIA driver.

#include "tests/unit/fake_nvml.h"

#include <cstring>

namespace {

constexpr int kNotSupported = 3, kNotFound = 6, kNoFunction = 13, kLost = 15;
constexpr const char* kBusId = "0000:65:00.0";

hearth::models::FakeNvml fake;
int device;

int answer() {
  ++fake.calls;
  const bool fails = fake.fail_at > 0 &&
                     (fake.calls == fake.fail_at || (fake.fail_on && fake.calls > fake.fail_at));
  return fails ? fake.code : 0;
}

template <class Number>
int give(void* of, Number* into, Number value) {
  const int code = of == &device ? answer() : kNotFound;
  if (code == 0) *into = value;
  return code;
}

struct Memory {
  unsigned long long total, free, used;
};

}  // namespace

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED hearth::models::FakeNvml* fake_nvml() {
  return &fake;
}

EXPORTED const char* nvmlErrorString(int code) {
  return code == kNotSupported ? "Not Supported"
         : code == kNotFound   ? "Not Found"
         : code == kLost       ? "GPU is Lost"
                               : "Other";
}

EXPORTED int nvmlInit_v2() {
  const int code = answer();
  if (code == 0) ++fake.open;
  return code;
}

EXPORTED int nvmlShutdown() {
  --fake.open;
  return 0;
}

EXPORTED int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, void** handle) {
  std::strncpy(fake.bus_id, bus_id, sizeof(fake.bus_id) - 1);
  const int code = std::strcmp(bus_id, kBusId) == 0 ? answer() : kNotFound;
  if (code == 0) *handle = &device;
  return code;
}

EXPORTED int nvmlDeviceGetClockInfo(void* of, unsigned clock, unsigned* mhz) {
  return give(of, mhz, clock == 1 ? 1980U : clock == 2 ? 2619U : 0U);
}

EXPORTED int nvmlDeviceGetTemperature(void* of, unsigned sensor, unsigned* degrees) {
  return give(of, degrees, sensor == 0 ? 45U : 0U);
}

EXPORTED int nvmlDeviceGetPowerUsage(void* of, unsigned* milliwatts) {
  return give(of, milliwatts, 310'400U);
}

EXPORTED int nvmlDeviceGetEnforcedPowerLimit(void* of, unsigned* milliwatts) {
  return give(of, milliwatts, 700'000U);
}

EXPORTED int nvmlDeviceGetCurrentClocksEventReasons(void* of, unsigned long long* reasons) {
  return fake.is_old ? kNoFunction : give(of, reasons, fake.reasons);
}

EXPORTED int nvmlDeviceGetCurrentClocksThrottleReasons(void* of, unsigned long long* reasons) {
  return fake.is_old ? give(of, reasons, fake.reasons) : kNoFunction;
}

EXPORTED int nvmlDeviceGetMemoryInfo(void* of, Memory* memory) {
  return give(of, memory, Memory{80'000, 50'000, 30'000});
}
