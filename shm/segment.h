// One sealed memfd: created by whoever must be trusted, mapped by whoever needs the bytes.
//
// A segment has no name and never changes size, so nothing is left behind by a killed process and
// nobody can truncate it under a reader. Seals: SHRINK, GROW, SEAL.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "shm/base/fd.h"
#include "shm/base/result.h"

namespace hearth {

enum class Access { kReadOnly, kReadWrite };

// What the system can still give without swapping or killing, in bytes; 0 when it does not say.
std::uint64_t available_memory_bytes();

// Whether a segment of `nbytes` leaves at least an eighth of `available_bytes` to everybody else.
// tmpfs has no limit of its own: fallocate of too much ends in the kernel killing processes.
bool may_allocate(std::uint64_t nbytes, std::uint64_t available_bytes);

// Creates `nbytes` of zeroed shared memory, allocated (never a SIGBUS for lack of memory) and
// sealed, without mapping it. May block: call it off the event loop. Errors: out_of_memory.
Result<Fd> create_segment(std::uint64_t nbytes);

// Checks that `fd` is a memfd with the seals above and of exactly `nbytes`.
Result<void> check_segment(const Fd& fd, std::uint64_t nbytes);

// A mapping of a checked segment; unmapped on destruction. Keeps no descriptor.
class Mapping {
 public:
  static Result<Mapping> map(const Fd& fd, std::uint64_t nbytes, Access access);
  Mapping(Mapping&&) noexcept;
  Mapping& operator=(Mapping&&) noexcept;
  ~Mapping();

  std::span<const std::byte> bytes() const;
  std::span<std::byte> writable_bytes();  // empty for kReadOnly

 private:
  struct Region;  // Boost.Interprocess stays in segment.cpp
  explicit Mapping(std::unique_ptr<Region> region);
  std::unique_ptr<Region> region_;
};

}  // namespace hearth
