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

void ask_first_device(const Library& cuda, Driver& driver) {
  int device = 0;
  if (!cuda.call("cuDeviceGet", &device, 0)) return;
  std::array<char, 256> name{};
  if (cuda.call("cuDeviceGetName", name.data(), static_cast<int>(name.size()), device))
    driver.device_name = name.data();
  std::size_t bytes = 0;
  if (cuda.call("cuDeviceTotalMem_v2", &bytes, device)) driver.device_bytes = bytes;
}

}  // namespace

std::optional<Driver> find_driver() {
  const Library cuda;
  if (!cuda) return std::nullopt;
  Driver driver;
  cuda.call("cuDriverGetVersion", &driver.cuda_version);
  if (cuda.call("cuInit", 0U) && cuda.call("cuDeviceGetCount", &driver.devices) &&
      driver.devices > 0)
    ask_first_device(cuda, driver);
  return driver;
}

}  // namespace hearth::engine
