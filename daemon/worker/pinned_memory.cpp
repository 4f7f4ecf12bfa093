#include "daemon/worker/pinned_memory.h"

#include <algorithm>
#include <utility>

#include "shm/base/log.h"

namespace hearth::worker {

std::uint64_t pinned_arena_budget(std::uint64_t ram_bytes) {
  constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
  return std::min({ram_bytes / 4, 8 * kGiB, 4 * kGiB});
}

PinnedMemory::PinnedMemory(models::HostPinning pinning, std::uint64_t budget_bytes)
    : pinning_(std::move(pinning)), budget_bytes_(budget_bytes) {}

PinnedMemory::Hold PinnedMemory::pin(std::span<const std::byte> memory, models::HostAccess access) {
  if (!pinning_.pin || memory.empty() || memory.size() > kMaxRangeBytes) return nullptr;
  if (!reserve(memory.size())) return nullptr;
  const bool pinned = pinning_.pin(memory, access);  // milliseconds: not under the lock
  const std::lock_guard lock(mutex_);
  if (!pinned) {
    reserved_bytes_ -= memory.size();
    if (refusals_++ == 0)
      log::warning("the driver does not pin shared memory: copies to the device take longer");
    return nullptr;
  }
  ranges_.emplace(memory.data(), memory.size());
  return Hold(memory.data(), [this, memory](const void*) { unpin(memory); });
}

bool PinnedMemory::reserve(std::uint64_t nbytes) {
  const std::lock_guard lock(mutex_);
  if (nbytes > budget_bytes_ - reserved_bytes_) return false;
  reserved_bytes_ += nbytes;
  return true;
}

void PinnedMemory::unpin(std::span<const std::byte> memory) {
  {
    const std::lock_guard lock(mutex_);
    ranges_.erase(memory.data());
  }
  pinning_.unpin(memory);
  const std::lock_guard lock(mutex_);
  reserved_bytes_ -= memory.size();
}

bool PinnedMemory::covers(std::span<const std::byte> memory) const {
  if (memory.empty()) return true;
  const std::lock_guard lock(mutex_);
  auto range = ranges_.upper_bound(memory.data());
  if (range == ranges_.begin()) return false;
  --range;
  return memory.data() + memory.size() <= range->first + range->second;
}

std::uint64_t PinnedMemory::pinned_bytes() const {
  const std::lock_guard lock(mutex_);
  return reserved_bytes_;
}

std::uint64_t PinnedMemory::refusals() const {
  const std::lock_guard lock(mutex_);
  return refusals_;
}

}  // namespace hearth::worker
