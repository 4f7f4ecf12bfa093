#include "models/decoder/device_memory.h"

#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sys/mman.h>

#include "models/generate/fault.h"
#include "models/kernels/device.h"
#include "models/kernels/fault_class.h"

namespace hearth::decoder {
namespace {

class HostMemory : public DeviceMemory {
 public:
  explicit HostMemory(const HearthKernels& kernels) : kernels_(kernels) {}

  const HearthKernels& kernels() const override { return kernels_; }
  void* stream() const override { return nullptr; }

  Result<DeviceBlock> allocate(std::size_t bytes) override {
    if (bytes == 0) return DeviceBlock();
    void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED)
      return fail(Code::kOutOfMemory,
                  fmt::format("the machine does not give {} MB of memory", bytes >> 20));
    constexpr std::size_t kHugeBytes = std::size_t{2} << 20;
    // Without huge pages it is slower, and that is all.
    if (bytes >= kHugeBytes) static_cast<void>(::madvise(data, bytes, MADV_HUGEPAGE));
    return DeviceBlock(*this, data, bytes);
  }
  Result<DeviceBlock> allocate_shared(std::size_t bytes) override { return allocate(bytes); }

  Result<void> write(void* target, const void* source, std::size_t bytes) override {
    std::memcpy(target, source, bytes);
    return {};
  }
  Result<void> copy(void* target, const void* source, std::size_t bytes) override {
    std::memcpy(target, source, bytes);
    return {};
  }
  Result<void> clear(void* target, std::size_t bytes) override {
    std::memset(target, 0, bytes);
    return {};
  }
  Result<void> synchronize() override { return {}; }
  Result<void> read(void* target, const void* source, std::size_t bytes) override {
    return write(target, source, bytes);
  }
  Result<void> check() override { return {}; }

 private:
  void release(void* data, std::size_t bytes) noexcept override { ::munmap(data, bytes); }

  const HearthKernels& kernels_;
};

}  // namespace

DeviceBlock::~DeviceBlock() {
  if (data_ != nullptr) memory_->release(data_, bytes_);
}

std::unique_ptr<DeviceMemory> host_memory(const HearthKernels& kernels) {
  return std::make_unique<HostMemory>(kernels);
}

void throw_if_lost(int cuda_error, const std::string& what) {
  switch (kernels::fault_class(cuda_error)) {
    case kernels::FaultClass::kSticky:
      throw generate::DeviceLost(what, Code::kWorkerLost);
    case kernels::FaultClass::kDeviceLost:
      throw generate::DeviceLost(what, Code::kDeviceFailed);
    default:
      return;
  }
}

namespace {

Error launch_refused(const char* operation) {
  const int number = hearth_device_error();
  std::string what =
      fmt::format("{}: the GPU refuses to start the kernel (CUDA error {})", operation, number);
  throw_if_lost(number, what);
  const bool is_full = kernels::fault_class(number) == kernels::FaultClass::kOutOfMemory;
  return fail(is_full ? Code::kOutOfMemory : Code::kInternal, std::move(what));
}

}  // namespace

Result<void> check_status(HearthStatus status, const char* operation) {
  switch (status) {
    case HEARTH_OK:
      return {};
    case HEARTH_NO_DEVICE:  // where there was one it is lost
      throw_if_lost(hearth_device_error(), operation);
      return fail(Code::kUnsupported, fmt::format("{}: there is no GPU to compute on", operation));
    case HEARTH_UNSUPPORTED:
      return fail(Code::kUnsupported, fmt::format("{}: this processor cannot do it", operation));
    case HEARTH_BAD_ARGUMENT:
      return fail(Code::kInternal, fmt::format("{}: the kernel refuses its arguments", operation));
    case HEARTH_OUT_OF_MEMORY:
      return fail(Code::kOutOfMemory, fmt::format("{}: not enough memory", operation));
    case HEARTH_LAUNCH_FAILED:
      break;
  }
  return launch_refused(operation);
}

}  // namespace hearth::decoder
