#include "models/weights/arena.h"

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

Region::~Region() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

Result<std::unique_ptr<Arena>> host_arena(std::uint64_t bytes) {
  TRY(Region region, Region::map(bytes));
  return std::unique_ptr<Arena>(std::make_unique<HostArena>(std::move(region)));
}

}  // namespace hearth::weights
