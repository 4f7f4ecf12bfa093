// One piece of memory for all weights of a model.
//
// Ownership: an Arena owns its bytes; destroying it gives them back to the system, all of them.
// Threads: see the functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "models/decoder/device_memory.h"
#include "shm/base/result.h"

namespace hearth::weights {

// Private zeroed memory of this process in huge pages, given by the system as it is first written.
class Region {
 public:
  // Errors: out_of_memory with the numbers.
  static Result<Region> map(std::uint64_t bytes);

  Region() = default;
  Region(Region&& other) noexcept { swap(other); }
  Region& operator=(Region&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Region();

  std::byte* data() const { return data_; }
  std::uint64_t bytes() const { return bytes_; }  // a whole number of huge pages

  // Gives the memory of whole huge pages before byte `end` back; what lay there is zero then.
  void discard_before(std::uint64_t end);

 private:
  void swap(Region& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(discarded_, other.discarded_);
  }

  std::byte* data_ = nullptr;
  std::uint64_t bytes_ = 0;
  std::uint64_t discarded_ = 0;
};

class Arena {
 public:
  virtual ~Arena() = default;

  virtual std::byte* host() = 0;                 // where loading writes, from any thread
  virtual const std::byte* address() const = 0;  // where the device reads
  virtual int device() const = 0;                // CUDA device; -1: host memory
  virtual std::uint64_t bytes() const = 0;       // taken on the device
  // Where a device has it; null: host memory.
  virtual const decoder::DeviceBlock* block() const { return nullptr; }
  // Bytes [0, end) of host() will not change again: a device may take them. `end` only grows. One
  // call at a time, from any of the loading threads.
  virtual Result<void> arrived(std::uint64_t end) = 0;
};

// Memory that the CPU computes from. Errors: out_of_memory with the numbers.
Result<std::unique_ptr<Arena>> host_arena(std::uint64_t bytes);

// Memory of a device, number `device` as in Arena::device(). Loading writes a host image of which
// only a moving part exists: what has arrived is copied to the device at once and its host memory
// given back. Until the last byte has arrived, the arena alone uses `memory`, which must outlive
// it. Errors: out_of_memory.
Result<std::unique_ptr<Arena>> device_arena(decoder::DeviceMemory& memory, int device,
                                            std::uint64_t bytes);

// What an arena for so many bytes takes: memory comes in huge pages.
std::uint64_t arena_bytes(std::uint64_t bytes);

}  // namespace hearth::weights
