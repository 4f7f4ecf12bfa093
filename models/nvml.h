// What a GPU is doing right now, as NVIDIA's management library (NVML) says: clocks, power, heat,
// what holds the clock down, memory.
//
// The library is part of the driver and opened while the program runs; without it, and where a call
// is refused, numbers are absent, never guessed. Nothing of the device is changed. Source of names
// and numbers: nvml.h of the NVIDIA driver.
//
// Threads: one at a time. A reading takes milliseconds: not for the engine thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shm/contract/messages.h"

namespace hearth::models {

class Nvml {
 public:
  // Opened at the first reading, once. `library` as dlopen() takes it, "libnvidia-ml.so.1";
  // `pci_bus_id` as the CUDA driver calls the device, "0000:65:00.0": the two count devices in
  // orders of their own.
  Nvml(std::string library, std::string pci_bus_id);
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  // All but what hearth itself holds. `source` is "nvml", or says why there are no numbers.
  contract::DeviceState read();

  // The words of a reading that found the device gone: it has left the bus, or must be reset.
  // Empty: none did. For good: it does not come back by itself.
  const std::string& lost() const { return lost_; }

 private:
  using Device = void*;

  template <class... Args>
  bool call(const char* name, Args... args);
  bool open();
  void read_clocks(contract::DeviceState& state);
  void read_power(contract::DeviceState& state);
  void read_throttling(contract::DeviceState& state);
  void read_memory(contract::DeviceState& state);

  const std::string library_;
  const std::string pci_bus_id_;
  void* handle_ = nullptr;  // of the library; null: not opened
  bool tried_ = false;
  bool started_ = false;     // nvmlInit: to be shut down
  Device device_ = nullptr;  // null: not found
  std::string trouble_;      // the first call that was refused, in words
  std::string lost_;
};

// What the driver's mask of clock event reasons means, in the contract's words. An idle device is
// not held down by anything.
std::vector<std::string> throttle_names(std::uint64_t reasons);

}  // namespace hearth::models
