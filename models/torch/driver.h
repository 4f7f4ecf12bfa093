// The NVIDIA driver, asked directly: what there is before libtorch's CUDA part is opened, and the
// page-locking of host memory, whose failure through the runtime would surface in a later call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace hearth::engine {

struct Driver {
  int cuda_version = 0;  // the newest CUDA it runs: 13000 is CUDA 13.0
  int devices = 0;
  std::string device_name;  // of device 0
  std::uint64_t device_bytes = 0;
  std::string pci_bus_id;                   // "0000:65:00.0"
  int compute_capability = 0;               // 10 major + minor; 0: unknown
  std::uint64_t bandwidth_bytes_per_s = 0;  // of its memory, two transfers a clock; 0: unknown
};

// Empty when this machine has no NVIDIA driver. Any thread; the driver's library stays loaded.
std::optional<Driver> find_driver();

// Page-locks mapped memory for device 0; `read_only`: the mapping may not be written. Any thread,
// on a machine with a device. False: the driver refuses, and nothing has changed.
bool pin_host_memory(std::span<const std::byte> memory, bool read_only);
void unpin_host_memory(std::span<const std::byte> memory);

}  // namespace hearth::engine
