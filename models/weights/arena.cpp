#include "models/weights/arena.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <fmt/format.h>
#include <sys/mman.h>

namespace hearth::weights {
namespace {

constexpr std::uint64_t kHugePageBytes = std::uint64_t{2} << 20;

Error no_memory(std::uint64_t bytes, int error_number) {
  return fail(Code::kOutOfMemory, fmt::format("{} MB of memory for weights: {}", bytes >> 20,
                                              std::generic_category().message(error_number)));
}

class HostArena : public Arena {
 public:
  explicit HostArena(Region region) : region_(std::move(region)) {}

  std::byte* host() override { return region_.data(); }
  const std::byte* address() const override { return region_.data(); }
  int device() const override { return -1; }
  std::uint64_t bytes() const override { return region_.bytes(); }
  Result<void> arrived(std::uint64_t) override { return {}; }

 private:
  Region region_;
};

class DeviceArena : public Arena {
 public:
  DeviceArena(decoder::DeviceMemory& memory, int device, decoder::DeviceBlock block, Region image)
      : memory_(memory), device_(device), block_(std::move(block)), image_(std::move(image)) {}

  std::byte* host() override { return image_.data(); }
  const std::byte* address() const override { return block_.as<std::byte>(); }
  int device() const override { return device_; }
  std::uint64_t bytes() const override { return block_.bytes(); }
  const decoder::DeviceBlock* block() const override { return &block_; }

  Result<void> arrived(std::uint64_t end) override {
    CHECK_OK(
        memory_.write(block_.as<std::byte>() + copied_, image_.data() + copied_, end - copied_));
    copied_ = end;
    image_.discard_before(end);
    if (end < block_.bytes()) return {};
    image_ = Region();
    return memory_.synchronize();
  }

 private:
  decoder::DeviceMemory& memory_;
  const int device_;
  decoder::DeviceBlock block_;
  Region image_;
  std::uint64_t copied_ = 0;
};

}  // namespace

std::uint64_t arena_bytes(std::uint64_t bytes) {
  return (bytes + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
}

Result<Region> Region::map(std::uint64_t bytes) {
  Region region;
  if (bytes == 0) return region;
  const std::uint64_t whole = arena_bytes(bytes);
  // One huge page more than needed: the system aligns mappings to small pages only.
  const std::uint64_t reserved = whole + kHugePageBytes;
  void* mapped = ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return no_memory(whole, errno);
  auto* const first = static_cast<std::byte*>(mapped);
  const std::uint64_t before =
      (kHugePageBytes - reinterpret_cast<std::uintptr_t>(first) % kHugePageBytes) % kHugePageBytes;
  if (before > 0) ::munmap(first, before);
  ::munmap(first + before + whole, kHugePageBytes - before);
  region.data_ = first + before;
  region.bytes_ = whole;
  // A step reads all weights, and small pages would cost it a lookup every 4 KiB. Without huge
  // pages it is slower, and that is all.
  static_cast<void>(::madvise(region.data_, whole, MADV_HUGEPAGE));
  return region;
}

void Region::discard_before(std::uint64_t end) {
  const std::uint64_t whole = end / kHugePageBytes * kHugePageBytes;
  if (whole > discarded_) ::madvise(data_ + discarded_, whole - discarded_, MADV_DONTNEED);
  discarded_ = std::max(discarded_, whole);
}

Region::~Region() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

Result<std::unique_ptr<Arena>> host_arena(std::uint64_t bytes) {
  TRY(Region region, Region::map(bytes));
  return std::unique_ptr<Arena>(std::make_unique<HostArena>(std::move(region)));
}

Result<std::unique_ptr<Arena>> device_arena(decoder::DeviceMemory& memory, int device,
                                            std::uint64_t bytes) {
  TRY(auto block, memory.allocate(bytes));
  TRY(Region image, Region::map(bytes));
  return std::unique_ptr<Arena>(
      std::make_unique<DeviceArena>(memory, device, std::move(block), std::move(image)));
}

}  // namespace hearth::weights
