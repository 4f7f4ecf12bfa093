// The NVIDIA driver, asked directly: what there is before libtorch's CUDA part is opened.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace hearth::engine {

struct Driver {
  int cuda_version = 0;  // the newest CUDA it runs: 13000 is CUDA 13.0
  int devices = 0;
  std::string device_name;  // of device 0
  std::uint64_t device_bytes = 0;
};

// Empty when this machine has no NVIDIA driver. Any thread; the driver's library stays loaded.
std::optional<Driver> find_driver();

}  // namespace hearth::engine
