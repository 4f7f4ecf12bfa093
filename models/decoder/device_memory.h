// Memory of the device that computes, and the stream its kernels run on.
//
// Ownership: a DeviceBlock owns its bytes and must not outlive its DeviceMemory. Threads:
// allocate() and release on any one thread at a time; everything else on the engine thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "models/kernels/kernels.h"
#include "shm/base/result.h"

namespace hearth::decoder {

class DeviceMemory;
class Evictable;     // evictable.h
class GraphCapture;  // step_graphs.h

class DeviceBlock {
 public:
  DeviceBlock() = default;
  DeviceBlock(DeviceMemory& memory, void* data, std::size_t bytes)
      : memory_(&memory), data_(data), bytes_(bytes) {}
  DeviceBlock(DeviceBlock&& other) noexcept { swap(other); }
  DeviceBlock& operator=(DeviceBlock&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceBlock();

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void swap(DeviceBlock& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  DeviceMemory* memory_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;

  virtual const HearthKernels& kernels() const = 0;
  virtual void* stream() const = 0;  // of all kernels and copies below; null on the host
  virtual GraphCapture* capture() { return nullptr; }  // where launches can be recorded
  // Where memory can leave and its addresses stay. Null on the host, where that would save nothing.
  virtual Evictable* evictable() { return nullptr; }

  // Zeroed, aligned to 4096 bytes on the host and at least 256 on a GPU. On the host the system
  // gives pages as they are written, so what is never used costs nothing. Errors: out_of_memory
  // with the numbers.
  virtual Result<DeviceBlock> allocate(std::size_t bytes) = 0;
  // Memory that both host and device reach, for small things the kernels tell the host.
  virtual Result<DeviceBlock> allocate_shared(std::size_t bytes) = 0;

  // In the order of the stream. `source` of write may change as soon as it returns.
  virtual Result<void> write(void* target, const void* source, std::size_t bytes) = 0;
  virtual Result<void> copy(void* target, const void* source, std::size_t bytes) = 0;
  virtual Result<void> clear(void* target, std::size_t bytes) = 0;
  // What is launched from here on may read weights at these addresses (null: none): while they are
  // on their way back (Evictable::fill), the device waits until they have arrived. The host does
  // not, and mostly there is nothing on its way.
  Result<void> await(std::span<const void* const> addresses) {
    return filling_ ? await_filled(addresses) : Result<void>();
  }
  // The same of all that is on its way.
  Result<void> await_all() { return filling_ ? await_filled() : Result<void>(); }

  // Waits for everything on the stream.
  virtual Result<void> synchronize() = 0;
  // To the host; waits for it. Throws generate::DeviceLost as check() does.
  virtual Result<void> read(void* target, const void* source, std::size_t bytes) = 0;
  // Whether the device still works. Throws generate::DeviceLost when it does not. Does not wait.
  virtual Result<void> check() = 0;

 protected:
  bool filling_ = false;  // something may still be on its way that nobody has awaited

 private:
  friend class DeviceBlock;
  virtual Result<void> await_filled(std::span<const void* const>) { return {}; }
  virtual Result<void> await_filled() { return {}; }
  virtual void release(void* data, std::size_t bytes) noexcept = 0;
};

// The machine's own memory, computed on by `kernels` (cpu or ref).
std::unique_ptr<DeviceMemory> host_memory(const HearthKernels& kernels);

// Throws generate::DeviceLost where a CUDA error of this number is the end of the process.
void throw_if_lost(int cuda_error, const std::string& what);

// What a kernel's status means. Errors: out_of_memory, internal, or unsupported without a device.
// Throws generate::DeviceLost where the device will not work again in this process.
Result<void> check_status(HearthStatus status, const char* operation);

}  // namespace hearth::decoder
