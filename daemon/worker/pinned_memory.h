// Page-locked shared memory: what the device can copy from and to without staging.
//
// Arenas that stand for a while are worth it: locking costs about as much as one copy. The budget
// is small because every client brings arenas of its own. A range that is refused, by the budget or
// by the driver, works all the same, only slower: it is simply not pinned, and receipts say so.
// Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>

#include "models/model.h"

namespace hearth::worker {

// What all arenas together may lock: of all that may be pinned, min(25 % of RAM, 8 GiB), at most
// 4 GiB.
std::uint64_t pinned_arena_budget(std::uint64_t ram_bytes);

class PinnedMemory {
 public:
  static constexpr std::uint64_t kMaxRangeBytes = std::uint64_t{256} << 20;

  // Without functions, as on the CPU, nothing is ever pinned.
  PinnedMemory(models::HostPinning pinning, std::uint64_t budget_bytes);
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  // Pins mapped memory until the hold is gone, which must be before the mapping is, and before this
  // object. Null: not pinned.
  using Hold = std::shared_ptr<const void>;
  Hold pin(std::span<const std::byte> memory, models::HostAccess access);

  // Whether all of it lies in one pinned range. Empty memory does.
  bool covers(std::span<const std::byte> memory) const;
  std::uint64_t pinned_bytes() const;
  std::uint64_t refusals() const;

 private:
  bool reserve(std::uint64_t nbytes);
  void unpin(std::span<const std::byte> memory);

  const models::HostPinning pinning_;
  const std::uint64_t budget_bytes_;
  mutable std::mutex mutex_;                        // of all below
  std::map<const std::byte*, std::size_t> ranges_;  // pinned ones, by where they begin
  std::uint64_t reserved_bytes_ = 0;                // pinned, or about to be
  std::uint64_t refusals_ = 0;
};

}  // namespace hearth::worker
