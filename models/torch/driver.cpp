#include "models/torch/driver.h"

#include <array>
#include <cstddef>

#include <dlfcn.h>

namespace hearth::engine {
namespace {

// The few calls of the CUDA driver API that are needed, with its own types: a device is an int,
// success is 0.
class Library {
 public:
  Library() : handle_(::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)) {}
  explicit operator bool() const { return handle_ != nullptr; }

  template <class... Args>
  bool call(const char* name, Args... args) const {
    using Function = int (*)(Args...);
    const auto function = reinterpret_cast<Function>(::dlsym(handle_, name));
    return function != nullptr && function(args...) == 0;
  }

 private:
  void* handle_;
};

// 0 where the driver would not say.
int attribute(const Library& cuda, int number, int device) {
  int value = 0;
  return cuda.call("cuDeviceGetAttribute", &value, number, device) ? value : 0;
}

// Numbers of CUdevice_attribute. Memory transfers twice a clock.
void ask_attributes(const Library& cuda, int device, Driver& driver) {
  constexpr int kMemoryClockKhz = 36, kBusWidthBits = 37, kMajor = 75, kMinor = 76;
  driver.compute_capability =
      10 * attribute(cuda, kMajor, device) + attribute(cuda, kMinor, device);
  const auto clock_khz = static_cast<std::uint64_t>(attribute(cuda, kMemoryClockKhz, device));
  const auto bus_bits = static_cast<std::uint64_t>(attribute(cuda, kBusWidthBits, device));
  driver.bandwidth_bytes_per_s = 2 * clock_khz * 1000 * (bus_bits / 8);
}

void ask_first_device(const Library& cuda, Driver& driver) {
  int device = 0;
  if (!cuda.call("cuDeviceGet", &device, 0)) return;
  std::array<char, 256> name{};
  if (cuda.call("cuDeviceGetName", name.data(), static_cast<int>(name.size()), device))
    driver.device_name = name.data();
  std::size_t bytes = 0;
  if (cuda.call("cuDeviceTotalMem_v2", &bytes, device)) driver.device_bytes = bytes;
  std::array<char, 32> pci_bus_id{};
  if (cuda.call("cuDeviceGetPCIBusId", pci_bus_id.data(), static_cast<int>(pci_bus_id.size()),
                device))
    driver.pci_bus_id = pci_bus_id.data();
  ask_attributes(cuda, device, driver);
}

const Library& library() {
  static const Library cuda;
  return cuda;
}

// The context that libtorch uses as well, current on this thread while the object lives.
class Context {
 public:
  Context() {
    void* context = nullptr;
    int device = 0;
    current_ = library().call("cuInit", 0U) && library().call("cuDeviceGet", &device, 0) &&
               library().call("cuDevicePrimaryCtxRetain", &context, device) &&
               library().call("cuCtxPushCurrent_v2", context);
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() {
    void* context = nullptr;
    if (current_) library().call("cuCtxPopCurrent_v2", &context);
  }
  explicit operator bool() const { return current_; }

 private:
  bool current_ = false;
};

}  // namespace

std::optional<Driver> find_driver() {
  const Library& cuda = library();
  if (!cuda) return std::nullopt;
  Driver driver;
  cuda.call("cuDriverGetVersion", &driver.cuda_version);
  if (cuda.call("cuInit", 0U) && cuda.call("cuDeviceGetCount", &driver.devices) &&
      driver.devices > 0)
    ask_first_device(cuda, driver);
  return driver;
}

// The primary context stays retained: this process uses the device until its end.
bool pin_host_memory(std::span<const std::byte> memory, bool read_only) {
  constexpr unsigned kPortable = 1;  // CU_MEMHOSTREGISTER_PORTABLE
  constexpr unsigned kReadOnly = 8;  // CU_MEMHOSTREGISTER_READ_ONLY, refused by older devices
  if (!library()) return false;
  const Context context;
  void* address = const_cast<std::byte*>(memory.data());
  return context && library().call("cuMemHostRegister_v2", address, memory.size(),
                                   kPortable | (read_only ? kReadOnly : 0U));
}

void unpin_host_memory(std::span<const std::byte> memory) {
  const Context context;
  void* address = const_cast<std::byte*>(memory.data());
  if (context) library().call("cuMemHostUnregister", address);
}

}  // namespace hearth::engine
